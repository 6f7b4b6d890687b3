"""Compares `serve` with Cog's own server, request by request: the same trainers in Python and in Rust are sent the same requests.

    cargo build --workspace --example conform
    python3 cog-train/tests/python/conformance.py [SCENARIO...] [--python VENV/bin/python] [--binary FILE]

Cog 0.23.1 is installed by pip in a virtual environment of its own, unless `--python` names a Python that has it. Ids, times and the
server's own versions are masked. A difference that `docs/http-api.md` lists under "Differences from Cog" is counted; any other one is
printed and fails.
"""

import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", "..", ".."))
sys.path.insert(0, os.path.join(HERE, "conform"))
sys.dont_write_bytecode = True

import compare  # noqa: E402
import scenarios  # noqa: E402
from servers import Receiver  # noqa: E402

COG = "cog==0.23.1"


class Sides:
    """What both servers need."""

    def __init__(self, python, binary, folder):
        self.python, self.binary, self.weights, self.receiver = python, binary, folder, Receiver()
        with open(os.path.join(folder, "w.safetensors"), "wb") as file:
            header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  '
            file.write(len(header).to_bytes(8, "little") + header + bytes(4))

    def schema(self, trainer):
        """The document for Cog's side. A predictor's is the binary's own, and is not compared."""
        if trainer == "Speaker":
            environment = {**os.environ, "CONFORM": "speaker"}
            return subprocess.run([self.binary, "schema"], env=environment, check=True, capture_output=True, text=True).stdout
        command = [self.python, "-B", os.path.join(HERE, "conform", "schema.py"), trainer]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def install(folder):
    """A virtual environment with Cog."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = os.path.join(folder, "bin", "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", COG], check=True)
    return python


def answers(scenario, sides, side):
    """Runs a scenario on one side, and returns what it recorded. Its servers end with it."""
    servers, records = [], {}
    try:
        for server in scenario(sides, side):
            servers.append(server)
        for server in servers:
            records.update(server.records)
    finally:
        for server in servers:
            server.stop()
    return records


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="by default all: " + ", ".join(it.__name__ for it in scenarios.ALL))
    parser.add_argument("--python", help=f"a Python that has {COG}")
    parser.add_argument("--binary", default=os.path.join(ROOT, "target", "debug", "examples", "conform"))
    arguments = parser.parse_args()
    chosen = [it for it in scenarios.ALL if not arguments.scenarios or it.__name__ in arguments.scenarios]
    known = compare.Known(os.path.join(ROOT, "cog-train", "docs", "http-api.md"))
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(arguments.python or install(os.path.join(folder, "venv")), os.path.abspath(arguments.binary), folder)
        for scenario in chosen:
            cog, ours = (answers(scenario, sides, side) for side in ("cog", "ours"))
            known.compare(scenario.__name__, cog, ours)
    sys.exit(known.report(is_whole=len(chosen) == len(scenarios.ALL)))


if __name__ == "__main__":
    main()
