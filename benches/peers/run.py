"""Trains the same jobs with this crate and with PyTorch, in turn, and prints a table for each job.

    python benches/peers/run.py [--jobs j1,j3] [--rounds 5] [--steps 20] [--threads 2] [--skip-compile]
        [--keep-pages] [--cold] [--ours-only | --torch-only] [--data DIR] [--out FILE] [--binary PATH] [--python PATH]

Makes the data where they are missing or older than their recipe, builds the Rust side, measures the peak of the matrix
products, runs every program once a round, each in its own process, and appends every record to a file of JSON lines.
A short run of the same program, which counts for nothing, goes before each: on a virtual machine whose host takes back
what is freed, memory is fast or slow to touch by what ran before. `--cold` leaves it out.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import subprocess
import sys

import process
from jobs import RATES, WARM
from process import HERE, TARGET, Failed
from table import RIVALS, spread, table

# Heap pages go back to the kernel by default, and every step faults them in again.
KEPT_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000", "MALLOC_TOP_PAD_": "67108864"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default=",".join(RATES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--skip-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--keep-pages", action="store_true", help="a PyTorch more, its allocator tuned; never the best")
    parser.add_argument("--cold", action="store_true", help="no short run before each")
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--ours-only", action="store_true")
    side.add_argument("--torch-only", action="store_true")
    parser.add_argument("--data", type=pathlib.Path, default=TARGET / "peers")
    parser.add_argument("--out", type=pathlib.Path, help="default: results.jsonl in the folder of the data")
    parser.add_argument("--binary", help="a Rust side that is built already")
    parser.add_argument("--python", default=sys.executable, help="a Python that has torch")
    args = parser.parse_args()
    args.jobs = args.jobs.split(",")
    if unknown := [j for j in args.jobs if j not in RATES]:
        parser.error(f"no job is named {', '.join(f'`{j}`' for j in unknown)}\nhint: the jobs are {', '.join(RATES)}")
    if args.steps <= WARM:
        parser.error(f"`--steps` is {args.steps} and must be over {WARM}: that many first steps do not count")
    args.data = args.data.resolve()
    args.out = args.out or args.data / "results.jsonl"
    return args


def make_data(python, folder):
    """Weights and batches, unless they are there and of this recipe."""
    recipe = b"".join((HERE / name).read_bytes() for name in ("jobs.py", "models.py", "make.py"))
    digest, stamp = hashlib.sha256(recipe).hexdigest(), folder / "recipe.sha256"
    if stamp.exists() and stamp.read_text() == digest:
        return
    subprocess.run([python, HERE / "make.py", folder], check=True)
    stamp.write_text(digest)


def modes(args, binary):
    """What runs in each round, in this order: the mode, its command without the job, and variables of its own."""
    found = []
    if not args.ours_only:
        train = [args.python, HERE / "train.py"]
        options = ["--threads", args.threads, "--data", args.data]
        found += [(m, train, [*options, "--mode", m], None) for m in RIVALS if m != "compile" or not args.skip_compile]
        if args.keep_pages:
            found.append(("pages", train, [*options, "--mode", "fused"], KEPT_PAGES))
    if binary:
        found.append(("ours", [binary], ["--data", args.data], None))
    return found


def main():
    args = arguments()
    make_data(args.python, args.data)
    binary = None if args.torch_only else args.binary or process.build()
    process.warn_if_busy()
    failures, others = 0, []
    out = open(args.out, "a")

    def keep(kind, **record):
        print(json.dumps({"kind": kind, **record}), file=out, flush=True)

    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    host = process.machine(args.python)
    keep("machine", time=now, threads=args.threads, steps=args.steps, cold=args.cold, **host)
    print(f"{host['cpu']}, {host['cores']} cores; commit {host['commit']}; {host['rustc']}; torch {host['torch']}")

    peaks = {"torch's products": [args.python, HERE / "peak.py", args.threads]} if not args.ours_only else {}
    if binary:
        peaks["our products"] = [binary, "peak"]
    gflops, runs = {}, {job: {} for job in args.jobs}
    for job in args.jobs:
        for at in range(args.rounds):
            work = [(name, command, command, None) for name, command in peaks.items()]
            for mode, first, rest, extra in modes(args, binary):
                short, whole = ([*first, job, steps, *rest] for steps in (WARM + 1, args.steps))
                work.append((mode, short, whole, extra))
            for name, short, command, extra in work:
                print(f"{job}, round {at + 1} of {args.rounds}: {name}", file=sys.stderr)
                env = process.environment(args.threads, args.data, extra)
                try:
                    if not args.cold:
                        process.record(short, env)
                    record = process.record(command, env)
                except Failed as failed:
                    print(failed, file=sys.stderr)
                    failures += 1
                    continue
                others.append(record["others"])
                if name in peaks:
                    keep("peak", impl=name, round=at, **record)
                    gflops[name] = max(gflops.get(name, 0.0), record["gflops"])
                else:
                    keep("run", round=at, **{**record, "impl": name})
                    runs[job].setdefault(name, {})[at] = record
    # Not before all rounds of all jobs, for the peak is the best of them.
    for job in filter(runs.get, args.jobs):
        print(f"\n{table(job, runs[job], max(gflops.values(), default=None))}")
    if others:
        print(f"\n{args.threads} threads, {args.rounds} rounds of {args.steps} steps, in turn.", end=" ")
        print(f"The best of all rounds: {', '.join(f'{k} {v:.0f} GFLOP/s' for k, v in gflops.items())}.")
        print(f"Cores that other work kept busy during a run: {spread(others)}.")
    print(f"Every record: {args.out}", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
