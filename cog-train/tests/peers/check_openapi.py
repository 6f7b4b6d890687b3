"""Calls the server by its own OpenAPI document, with schemathesis: no 500, and bodies that the document describes.

    python cog-train/tests/peers/check_openapi.py BINARY [--examples 200]

BINARY is the example `faulty`. Needs schemathesis in the interpreter that runs this.
"""

import argparse
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

# The document is Cog's, which names the statuses 200 and 422 alone: 400, 404, 409, 413 and 415 are not in it, and are texts in part.
CHECKS = "not_a_server_error,response_schema_conformance"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--examples", type=int, default=200)
    args = parser.parse_args()
    tool = shutil.which("schemathesis", path=pathlib.Path(sys.executable).parent) or shutil.which("schemathesis")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        command = [args.binary.resolve(), "serve", "--host", "127.0.0.1", "--port", str(port)]
        log = pathlib.Path(folder) / "server.log"
        with log.open("wb") as out:
            # Trainings wait for nothing and end no process: the next request would find the slot taken, or no worker.
            server = subprocess.Popen(command, cwd=folder, stdout=out, stderr=out, env=os.environ | {"FAULTY_TAME": "1"})
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                try:
                    if json.load(urllib.request.urlopen(f"{url}/health-check"))["status"] == "READY":
                        break
                except OSError:
                    pass
                time.sleep(0.05)
            run = [tool, "run", f"{url}/openapi.json", "--checks", CHECKS, "--max-examples", str(args.examples), "--seed", "1",
                   "--request-timeout", "60", "--generation-database", "none", "--no-color"]
            ended = subprocess.run(run, cwd=folder).returncode
            if b"panicked" in log.read_bytes():
                sys.exit(f"a panic:\n{log.read_text()}")
            sys.exit(ended)
        finally:
            server.terminate()
            server.wait(60)


if __name__ == "__main__":
    main()
