"""Builds the Rust side, an example of the crate named `peer`, and runs one process of either side.

    peer JOB STEPS --data DIR
    peer peak
    peer gpt --layers L --width D --heads H --length T --batch B --vocab V --steps N

Each prints one line of JSON, last on its standard output. The first: the keys of train.py's line, `impl` being "ours",
and optionally `profile`. The second: {"gflops": ...}, as peak.py. The third trains J1's model in another size, on random
weights and tokens of its own, and prints `step_ms`, `min_ms`, `peak_rss_mb` and `first_step_s`. RAYON_NUM_THREADS is
the number of threads.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


class Failed(Exception):
    """A process that did not end well, or printed no record."""


def build(example="peer"):
    """The path of the release binary of an example."""
    command = ["cargo", "build", "--release", "-p", "cog-train", "--example", example]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit("the Rust side does not build: see above, or pass `--torch-only`")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == example:
            return message["executable"]
    sys.exit(f"cargo named no binary of the example `{example}`")


def environment(threads, folder, extra=None):
    count = str(threads)
    return {
        **os.environ,
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "RAYON_NUM_THREADS": count,
        # torch.compile finds here what an earlier round compiled.
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        **(extra or {}),
    }


def busy_seconds():
    """Processor time of the whole machine, taken or stolen from it."""
    with open("/proc/stat") as f:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def record(command, env):
    """Runs a command to its end and reads its last line. `others` is how many cores other work kept busy meanwhile."""
    start, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    done = subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True)
    others = (busy_seconds() - busy - (own_seconds() - own)) / (time.monotonic() - start)
    try:
        if done.returncode != 0:
            raise ValueError
        return {**json.loads(done.stdout.splitlines()[-1]), "others": round(max(others, 0.0), 3)}
    except (ValueError, IndexError):
        words = " ".join(str(c) for c in command)
        raise Failed(f"`{words}` ended with {done.returncode}\n{done.stderr[-2000:]}") from None


def said(*command):
    """First line of what a command says, or nothing where there is no such command."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split("\n")[0]
    except OSError:
        return ""


def machine(python):
    """What a figure depends on."""
    with open("/proc/cpuinfo") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "")
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "commit": said("git", "describe", "--always", "--dirty"),
        "rustc": said("rustc", "--version"),
        "torch": said(python, "-c", "import torch; print(torch.__version__)"),
    }


def warn_if_busy():
    busy = busy_seconds()
    time.sleep(1)
    if (cores := busy_seconds() - busy) > 0.1:
        print(
            f"other work keeps {cores:.1f} cores of this machine busy: the figures will not hold, and PyTorch's least"
            " of all, for its threads wait for each other without sleeping",
            file=sys.stderr,
        )
