"""How a step of ours grows: its time and the process's peak memory against one size at a time, on 1 and 2 threads.

    python benches/peers/scale.py [--sweeps length,batch,depth,width] [--rounds 3] [--steps 10] [--threads 1,2]
        [--binary PATH] [--out FOLDER]

Trains J1's model in other sizes (`peer gpt`, see process.py), prints a table for each sweep, and writes scale.svg and
scale.jsonl. Needs no PyTorch.
"""

import argparse
import json
import pathlib
import statistics
import sys
from types import SimpleNamespace as Shape

import flops
import process
from plot import Linear, grid
from process import TARGET, Failed
from table import number, row, spread

BASE = {"layers": 4, "width": 256, "heads": 4, "length": 256, "batch": 4, "vocab": 8192}
# A head is 64 wide in all. Lengths have one row a batch, so that tokens grow as the length does.
SWEEPS = {
    "length": [{"length": n, "batch": 1} for n in (128, 256, 512, 1024, 2048, 4096)],
    "batch": [{"batch": n} for n in (1, 2, 4, 8, 16)],
    "depth": [{"layers": n} for n in (2, 4, 8, 16)],
    "width": [{"width": n, "heads": n // 64} for n in (128, 256, 512, 1024)],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", default=",".join(SWEEPS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--binary", help="a Rust side that is built already")
    parser.add_argument("--out", type=pathlib.Path, default=TARGET / "peers")
    args = parser.parse_args()
    args.sweeps = args.sweeps.split(",")
    if unknown := [s for s in args.sweeps if s not in SWEEPS]:
        parser.error(f"no sweep is named {', '.join(f'`{s}`' for s in unknown)}\nhint: they are {', '.join(SWEEPS)}")
    args.threads = [int(n) for n in args.threads.split(",")]
    return args


def measure(binary, shape, threads, steps, folder):
    options = [part for name, value in shape.items() for part in (f"--{name}", value)]
    return process.record([binary, "gpt", *options, "--steps", steps], process.environment(threads, folder))


def sweep_rows(key, results, threads):
    """`results` is a list of (shape, {threads: records}). Memory is that of the most threads."""
    most = max(threads)
    head = [key, "tokens", "GFLOP", *(f"ms, {n} threads" if n > 1 else "ms, 1 thread" for n in threads)]
    head += [f"GFLOP/s, {most} threads", "peak MiB", "MiB more"]
    lines = [row(*head), "|" + "---|" * len(head)]
    before = None
    for shape, records in results:
        work = flops.gpt(Shape(**shape))
        step = {n: statistics.median(r["step_ms"] for r in records[n]) for n in threads}
        peak = statistics.median(r["peak_rss_mb"] for r in records[most])
        more = number(peak - before) if before is not None else ""
        times = [spread([r["step_ms"] for r in records[n]]) for n in threads]
        tokens = str(shape["batch"] * shape["length"])
        rate = number(work / step[most] / 1e6)
        lines.append(row(str(shape[key]), tokens, number(work / 1e9), *times, rate, number(peak), more))
        before = peak
    return lines


def panels(key, results, threads):
    """Of time, where a slope is a power, and of memory, where a straight line is linear growth."""
    lines, memory = {}, {}
    for n in threads:
        name = f"{n} threads" if n > 1 else "1 thread"
        lines[name] = [(s[key], statistics.median(r["step_ms"] for r in records[n])) for s, records in results]
        memory[name] = [(s[key], statistics.median(r["peak_rss_mb"] for r in records[n])) for s, records in results]
    return ("step, ms", key, lines), ("peak memory, MiB", key, memory, Linear)


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    binary = args.binary or process.build()
    process.warn_if_busy()
    drawn = []
    with open(args.out / "scale.jsonl", "a") as out:
        for sweep in args.sweeps:
            shapes = [{**BASE, **change} for change in SWEEPS[sweep]]
            results = [(shape, {n: [] for n in args.threads}) for shape in shapes]
            for at in range(args.rounds):
                for shape, records in results:
                    for n in args.threads:
                        print(f"{sweep}, round {at + 1} of {args.rounds}: {shape}, {n} threads", file=sys.stderr)
                        try:
                            record = measure(binary, shape, n, args.steps, args.out)
                        except Failed as failed:
                            sys.exit(str(failed))
                        records[n].append(record)
                        print(json.dumps({**shape, "threads": n, "round": at, **record}), file=out, flush=True)
            key = next(iter(SWEEPS[sweep][0]))
            fixed = ", ".join(f"{k} {v}" for k, v in shapes[0].items() if len({s[k] for s in shapes}) == 1)
            print(f"\n### {sweep} ({fixed})\n")
            print("\n".join(sweep_rows(key, results, args.threads)), flush=True)
            drawn.append(panels(key, results, args.threads))
    (args.out / "scale.svg").write_text(grid([list(row) for row in zip(*drawn)]))
    print(f"\nplot and records: {args.out / 'scale.svg'}, {args.out / 'scale.jsonl'}", file=sys.stderr)


if __name__ == "__main__":
    main()
