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
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


class Failed(Exception):
    """A process that did not end well, or printed no record."""


def build():
    """The path of the release binary."""
    command = ["cargo", "build", "--release", "-p", "cog-train", "--example", "peer"]
    command += ["--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode != 0:
        sys.exit("the Rust side does not build: see above, or pass `--torch-only`")
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "peer":
            return message["executable"]
    sys.exit("cargo named no binary of the example `peer`")


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


def record(command, env):
    """Runs a command to its end and reads its last line."""
    load = os.getloadavg()[0]
    done = subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True)
    try:
        if done.returncode != 0:
            raise ValueError
        return {**json.loads(done.stdout.splitlines()[-1]), "load": load}
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
        "load": os.getloadavg()[0],
        "commit": said("git", "describe", "--always", "--dirty"),
        "rustc": said("rustc", "--version"),
        "torch": said(python, "-c", "import torch; print(torch.__version__)"),
    }


def warn_if_busy():
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"other work loads this machine ({load:.1f} processes): figures will not hold", file=sys.stderr)
