"""Fine-tunes pretrained models with this crate and with PyTorch, in turn, and prints a table for each job.

    python benches/models/run.py LANGUAGE_MODEL CLASSIFIER_BASE [--jobs lora,full,classify,packed] [--rounds 3] [--steps 10]
        [--threads 2] [--modes fused,compile] [--checkpoint-layers] [--data DIR] [--out FILE] [--binary PATH] [--make-only]

The models are folders of Hugging Face's: SmolLM2-135M-Instruct and all-MiniLM-L6-v2 in RESULTS.md. Needs torch, transformers
and peft. Each program runs once a round, each in its own process; every record is appended to a file of JSON lines. As
there are no short runs before, torch.compile's first run of a job is one that compiles: run twice, or leave it out.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from shapes import GOALS, LOSS_GOAL, PACKED, RATES, TITLES  # first: it finds the modules of `peers`

import process
from jobs import COLUMNS, WARM
from process import TARGET, Failed
from table import NAMES, apart, column, ratio, row, spread

HERE = pathlib.Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("language", type=pathlib.Path)
    parser.add_argument("classifier", type=pathlib.Path)
    parser.add_argument("--jobs", default=",".join(RATES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--modes", default="fused,compile", help="PyTorch's: eager, fused, compile, or none")
    parser.add_argument("--checkpoint-layers", action="store_true", help="ours once more, with activation checkpointing")
    parser.add_argument("--data", type=pathlib.Path, default=TARGET / "models")
    parser.add_argument("--out", type=pathlib.Path, help="default: results.jsonl in the folder of the data")
    parser.add_argument("--binary", help="a Rust side that is built already")
    parser.add_argument("--make-only", action="store_true", help="make the data and build, and run nothing")
    args = parser.parse_args()
    args.data = args.data.resolve()
    args.out = args.out or args.data / "results.jsonl"
    return args


def rates(job, records, data):
    """Tokens per second of each run of `packed` behind the first steps, padding not counted."""
    from safetensors import safe_open

    with safe_open(data / "packed.safetensors", framework="np") as f:
        lengths = f.get_tensor("lengths")
    batches = [int(lengths[at : at + PACKED].sum()) for at in range(0, len(lengths), PACKED)]
    found = []
    for record in records:
        times = record["times_ms"]
        tokens = [batches[at % len(batches)] for at in range(len(times))]
        found.append(sum(tokens[WARM:]) / sum(times[WARM:]) * 1e3)
    return found


def table(job, runs, data):
    """`runs` maps a mode to {round: record}."""
    head = ["", "step, ms", "peak memory, MiB", "first step, s", "loss apart"]
    if job == "packed":
        head.append("tokens per second")
    lines = [f"### {TITLES[job]}", "", row(*head), "|" + "---|" * len(head)]
    reference = next(iter(next(iter(runs.values())).values()))["losses"]
    names = {**NAMES, "checkpointed": "ours, activation checkpointing"}
    speeds = {}
    for mode, name in names.items():
        if not (records := runs.get(mode)):
            continue
        loss = max(apart(r["losses"], reference) for r in records.values())
        cells = [name, *(spread(column(records, key)) for key in COLUMNS), f"{loss:.1e}"]
        if job == "packed":
            speeds[mode] = rates(job, records.values(), data)
            cells.append(spread(speeds[mode]))
        lines.append(row(*cells))
    for mode, name in (("ours", "ours"), ("checkpointed", "checkpointed")):
        if mode not in runs:
            continue
        ratios = [ratio({**runs, "ours": runs[mode]}, key) for key in COLUMNS]
        if not all(ratios):
            continue
        cells = [f"**{name} / PyTorch's best**"]
        for middle, rounds in ratios:
            ends = f" [{min(rounds):.3f}, {max(rounds):.3f}]" if len(rounds) > 1 else ""
            cells.append(f"{middle:.3f}{ends}")
        cells.append("")
        if job == "packed":
            best = max(statistics.median(s) for m, s in speeds.items() if m not in ("ours", "checkpointed"))
            cells.append(f"{statistics.median(speeds[mode]) / best:.2f}")
        lines.append(row(*cells))
    goals = ["goal", *(f"at most {goal:.2f}" for goal in GOALS[job]), f"at most {LOSS_GOAL:.0e}"]
    lines.append(row(*goals, *(["at least 2"] if job == "packed" else [])))
    return "\n".join(lines)


def main():
    args = arguments()
    if not (args.data / "classify.safetensors").exists():
        subprocess.run([sys.executable, HERE / "make.py", args.data, args.language, args.classifier], check=True)
    binary = args.binary or process.build("finetune_peer")
    if args.make_only:
        return
    process.warn_if_busy()
    host = process.machine(sys.executable)
    print(f"{host['cpu']}, {host['cores']} cores; commit {host['commit']}; {host['rustc']}; torch {host['torch']}")
    work = [(mode, [sys.executable, HERE / "finetune.py"], ["--mode", mode, "--threads", args.threads])
            for mode in args.modes.split(",") if mode != "none"]
    work.append(("ours", [binary], []))
    if args.checkpoint_layers:
        work.append(("checkpointed", [binary], ["--checkpoint-layers"]))
    others, failures = [], 0
    with open(args.out, "a") as out:
        print(json.dumps({"kind": "machine", "threads": args.threads, "steps": args.steps, **host}), file=out, flush=True)
        for job in args.jobs.split(","):
            runs = {}
            for at in range(args.rounds):
                for mode, program, options in work:
                    print(f"{job}, round {at + 1} of {args.rounds}: {mode}", file=sys.stderr)
                    command = [*program, job, args.steps, "--data", args.data, *options]
                    try:
                        record = process.record(command, process.environment(args.threads, args.data))
                    except Failed as failed:
                        print(failed, file=sys.stderr)
                        failures += 1
                        continue
                    print(json.dumps({"kind": "run", "round": at, **{**record, "impl": mode}}), file=out, flush=True)
                    runs.setdefault(mode, {})[at] = record
                    others.append(record["others"])
            if runs:
                print(f"\n{table(job, runs, args.data)}", flush=True)
    if others:
        print(f"\n{args.threads} threads, {args.rounds} rounds of {args.steps} steps, in turn.", end=" ")
        print(f"Cores that other work kept busy during a run: {spread(others)}.")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
