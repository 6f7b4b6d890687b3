"""Loads the server, breaks its workers, and measures it beside Cog's Python server. Everything stays on this machine.

    python benches/serve/run.py BINARY [--cog PYTHON] [--parts start,load,cancel,kill,upload] [--requests 2000] [--connections 64]
        [--cancels 500] [--kills 100] [--gigabytes 2]

BINARY is the example `faulty`. PYTHON is an interpreter with `cog==0.23.1`; without it there is nothing beside. Needs Linux, and
nothing but Python's own library. It ends with 1 when a law does not hold: no status of 500 or more but 503, a health check within
50 ms at the 99th percentile, no file and no descriptor left behind, memory that does not grow.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

JSON = {"Content-Type": "application/json"}
ASYNC = JSON | {"Prefer": "respond-async"}
PATIENCE = 120

# The same training, and nothing in it.
COG = '''
from cog import BaseModel

class TrainingOutput(BaseModel):
    length: int

class Trainer:
    def setup(self) -> None:
        pass
    def run(self) -> str:
        return ""
    def train(self, text: str = "") -> TrainingOutput:
        print("training")
        return TrainingOutput(length=len(text))
'''


class Wrong(Exception):
    """A law that does not hold."""


class Server:
    """A server in a folder of its own."""

    def __init__(self, folder, command, **variables):
        self.folder = pathlib.Path(folder)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        environment = os.environ | {"PORT": str(self.port), "TMPDIR": str(self.temporary)} | variables
        self.log = open(self.folder / "server.log", "wb")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"], cwd=self.folder, env=environment, stdout=self.log, stderr=self.log
        )
        self.wait_for("READY", 0.002)
        self.started = time.perf_counter() - began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.connect()
        # As curl and browsers do.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def send(self, method, path, body=None, headers=JSON, connection=None):
        connection = connection or self.connect()
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def poll(self, found, pause=0.005):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = found()
            if value:
                return value
            time.sleep(pause)
        raise Wrong(f"it takes more than {PATIENCE} s: {found.__doc__ or found}")

    def wait_for(self, status, pause=0.005):
        def reached():
            try:
                return json.loads(self.send("GET", "/health-check")[1])["status"] == status
            except OSError:
                return False

        self.poll(reached, pause)

    def status(self, training):
        code, body = self.send("GET", f"/trainings/{training}")
        return json.loads(body)["status"] if code == 200 else None

    def worker(self):
        def child():
            for found in pathlib.Path("/proc").glob("[0-9]*/stat"):
                try:
                    fields = found.read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == self.process.pid and fields[0] != "Z":
                    return int(found.parent.name)
            return None

        return self.poll(child)

    def memory(self, what="VmRSS", process=None):
        """Bytes of a process's memory now (VmRSS) or at most (VmHWM)."""
        text = pathlib.Path(f"/proc/{process or self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(what + ":"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def starts(make, count=5):
    times = []
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder, make(folder) as server:
            times.append(server.started)
    return times


def rate(server, count, connections, ask):
    """Requests per second of clients that ask one after the other, each on a connection that it keeps."""
    left = iter(range(count))
    lock, failures = threading.Lock(), []

    def client():
        connection = server.connect()
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            try:
                code, _ = ask(server, number, connection)
                if code >= 400:
                    failures.append(code)
            except OSError as error:
                failures.append(error)
                return

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(connections)]
    [it.start() for it in threads]
    [it.join() for it in threads]
    if failures:
        raise Wrong(f"{len(failures)} of {count} fail: {failures[:3]}")
    return count / (time.perf_counter() - began)


def check_health(server, _, connection):
    return server.send("GET", "/health-check", headers={}, connection=connection)


def train(server, _, connection):
    # Cog's slot may be freed after its answer.
    for _ in range(2000):
        code, body = server.send("POST", "/trainings", {"input": {"text": "abc"}}, connection=connection)
        if code != 409:
            return code, body
        time.sleep(0.0005)
    return code, body


# Requests of which none starts a training while one is in progress, and the statuses that they may have.
MIXED = [
    ("GET", "/", None, {200}),
    ("GET", "/health-check", None, {200}),
    ("GET", "/openapi.json", None, {200}),
    ("GET", "/trainings", None, {200}),
    ("GET", "/trainings/load", None, {200}),
    ("GET", "/trainings/nobody", None, {404}),
    ("POST", "/trainings", {"input": {}}, {409, 503}),
    ("POST", "/trainings", {"input": {"end": "never"}}, {422}),
    ("POST", "/trainings", {"input": {"text": "x" * 100_000}}, {409, 503}),
    ("PUT", "/trainings/load", {"input": {"end": "wait"}}, {202}),
    ("POST", "/trainings/nobody/cancel", None, {404}),
    ("POST", "/trainings/load/checkpoint", None, {202}),
    ("PUT", "/trainings/..%2fx", {"input": {}}, {422}),
    ("POST", "/predictions", {"input": {}}, {404}),
    ("DELETE", "/trainings", None, {405}),
    ("GET", "/nowhere", None, {404}),
]


def load(server, count, connections):
    """Mixed requests while a training is in progress, and the time that a health check takes beside them."""
    server.send("PUT", "/trainings/load", {"input": {"end": "wait"}}, ASYNC)
    server.wait_for("BUSY")
    left, lock = iter(range(count)), threading.Lock()
    seen, wrong = collections.Counter(), []

    def client():
        connection = server.connect()
        while True:
            with lock:
                number = next(left, None)
            if number is None:
                return
            method, path, body, expected = MIXED[number % len(MIXED)]
            try:
                code, _ = server.send(method, path, body, connection=connection)
            except OSError as error:
                wrong.append((method, path, str(error)))
                return
            seen[code] += 1
            if code not in expected:
                wrong.append((method, path, code))

    threads = [threading.Thread(target=client) for _ in range(connections)]
    # Another process: this one's threads wait for each other more than for the server.
    probe = subprocess.Popen([sys.executable, __file__, "--probe", str(server.port)], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    time.sleep(0.3)
    began = time.perf_counter()
    [it.start() for it in threads]
    [it.join() for it in threads]
    seconds = time.perf_counter() - began
    waits = json.loads(probe.communicate(b"end")[0])
    server.send("POST", "/trainings/load/cancel")
    server.poll(lambda: server.status("load") == "canceled")
    server.wait_for("READY")
    if wrong:
        raise Wrong(f"{len(wrong)} of {count} answers are wrong: {wrong[:5]}")
    return {"seconds": seconds, "statuses": dict(sorted(seen.items())), "waits": waits}


def probe(port):
    """Asks for the health every 2 ms until there is something to read; the milliseconds of each answer."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(1), over.set()), daemon=True).start()
    connection, waits = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE), []
    while not over.is_set():
        began = time.perf_counter()
        connection.request("GET", "/health-check")
        connection.getresponse().read()
        waits.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.002)
    print(json.dumps(waits))


def cancels(server, count):
    waits = []
    for number in range(count):
        name = f"cancel-{number}"
        code, body = server.send("PUT", f"/trainings/{name}", {"input": {"end": "wait"}}, ASYNC)
        if code != 202:
            raise Wrong(f"{name}: {code} {body!r}")
        # Some are cancelled before they begin, some while they run.
        time.sleep((number % 4) * 0.005)
        began = time.perf_counter()
        if server.send("POST", f"/trainings/{name}/cancel")[0] != 200:
            raise Wrong(f"{name} cannot be cancelled")
        server.poll(lambda: server.status(name) == "canceled", 0.001)
        server.wait_for("READY", 0.001)
        waits.append((time.perf_counter() - began) * 1e3)
    return waits


def kills(server, count):
    waits = []
    for number in range(count):
        name = f"kill-{number}"
        worker = server.worker()
        code, body = server.send("PUT", f"/trainings/{name}", {"input": {"end": "wait"}}, ASYNC)
        if code != 202:
            raise Wrong(f"{name}: {code} {body!r}")
        server.poll(lambda: b"training" in server.send("GET", f"/trainings/{name}")[1], 0.002)
        began = time.perf_counter()
        os.kill(worker, signal.SIGKILL)
        server.poll(lambda: server.status(name) == "failed", 0.002)
        state = json.loads(server.send("GET", f"/trainings/{name}")[1])
        if "SIGKILL" not in state["error"]:
            raise Wrong(f"{name} does not name its cause: {state}")
        server.wait_for("READY", 0.002)
        waits.append((time.perf_counter() - began) * 1e3)
    return waits


def receive(listener, received):
    """Takes one upload after the other, and keeps nothing of it."""
    while True:
        try:
            stream, _ = listener.accept()
        except OSError:
            return
        head = b""
        while b"\r\n\r\n" not in head:
            head += stream.recv(1 << 16)
        head, body = head.split(b"\r\n\r\n", 1)
        length = next(int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length:"))
        count, buffer = len(body), bytearray(1 << 20)
        while count < length:
            more = stream.recv_into(buffer)
            if not more:
                break
            count += more
        received.append(count)
        stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        stream.close()


def upload(binary, gigabytes):
    """The most memory of the server and its worker while a large file is uploaded, over that before it."""
    listener, received = socket.create_server(("127.0.0.1", 0)), []
    threading.Thread(target=receive, args=(listener, received), daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/bucket"
    size = int(gigabytes * (1 << 30))
    with tempfile.TemporaryDirectory() as folder:
        with Server(folder, [binary, "serve", "--upload-url", url]) as server:
            worker = server.worker()
            server.send("POST", "/trainings", {"input": {"bytes": 1000}})
            before = server.memory(), server.memory(process=worker)
            began = time.perf_counter()
            code, body = server.send("POST", "/trainings", {"id": "large", "input": {"bytes": size, "sparse": True}})
            seconds = time.perf_counter() - began
            state = json.loads(body)
            if state["status"] != "succeeded" or received[-1] != size:
                raise Wrong(f"the upload fails: {code} {state}, {received} bytes")
            after = server.memory("VmHWM"), server.memory("VmHWM", worker)
    listener.close()
    with tempfile.TemporaryDirectory() as folder, Server(folder, [binary, "serve"]) as server:
        state = json.loads(server.send("POST", "/trainings", {"id": "large", "input": {"bytes": size, "sparse": True}})[1])
        kept = (pathlib.Path(folder) / "runs/large/weights.safetensors").stat().st_size
        if state["status"] != "failed" or kept != size:
            raise Wrong(f"without an upload URL: {state}, {kept} bytes are kept")
        refusal = state["error"]
    return {"before": before, "after": after, "seconds": seconds, "refusal": refusal}


def settled(server, descriptors):
    """Memory and descriptors once the last connections are closed."""
    end = time.monotonic() + 5
    while server.descriptors() > descriptors and time.monotonic() < end:
        time.sleep(0.05)
    return server.memory(), server.descriptors()


def shown(times):
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"median {statistics.median(ordered):.1f} ms, p99 {p99:.1f} ms, most {ordered[-1]:.1f} ms"


def mebibytes(count):
    return f"{count / (1 << 20):.1f} MiB"


def main():
    if sys.argv[1:2] == ["--probe"]:
        return probe(int(sys.argv[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--cog")
    parser.add_argument("--parts", default="start,load,cancel,kill,upload")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--cancels", type=int, default=500)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--gigabytes", type=float, default=2)
    args = parser.parse_args()
    binary, parts = str(pathlib.Path(args.binary).resolve()), args.parts.split(",")

    def ours(folder):
        return Server(folder, [binary, "serve"])

    def cogs(folder):
        (pathlib.Path(folder) / "train.py").write_text(COG)
        command = [args.cog, "-m", "cog.server.http", "--x-mode", "train"]
        # Its server starts its worker by the name `python`.
        path = f"{pathlib.Path(args.cog).absolute().parent}:{os.environ['PATH']}"
        variables = {"COG_TRAIN_TYPE_STUB": "train.py:Trainer", "COG_LOG_LEVEL": "warning", "PATH": path}
        return Server(folder, command, **variables)

    if "start" in parts:
        for name, make in [("ours", ours)] + ([("Cog", cogs)] if args.cog else []):
            times = [seconds * 1e3 for seconds in starts(make)]
            print(f"start to READY, {name}: {shown(times)}")
            with tempfile.TemporaryDirectory() as folder, make(folder) as server:
                server.send("POST", "/trainings", {"input": {}})
                one = rate(server, 300, 1, train)
                health = rate(server, args.requests, args.connections, check_health)
                memory = server.memory(), server.memory(process=server.worker())
                print(f"  trainings per second, one client: {one:.0f}")
                print(f"  health checks per second, {args.connections} connections: {health:.0f}")
                print(f"  memory, server and worker: {mebibytes(memory[0])}, {mebibytes(memory[1])}", flush=True)

    wrong = []
    if {"load", "cancel", "kill"} & set(parts):
        with tempfile.TemporaryDirectory() as folder, ours(folder) as server:
            # What is allocated once is there before it is counted: memory grows for some 8,000 requests and no more.
            load(server, 8000, args.connections)
            cancels(server, 20)
            kills(server, 3)
            time.sleep(1)
            before = server.memory(), server.descriptors()
            print(f"before: {mebibytes(before[0])}, {before[1]} descriptors")
            if "load" in parts:
                found = load(server, args.requests, args.connections)
                print(f"{args.requests} mixed requests, {args.connections} connections: {found['seconds']:.2f} s, {found['statuses']}")
                print(f"  health check meanwhile: {shown(found['waits'])}, {len(found['waits'])} of them")
                if sorted(found["waits"])[int(len(found["waits"]) * 0.99)] >= 50:
                    wrong.append("the health check takes 50 ms or more")
            if "cancel" in parts:
                print(f"{args.cancels} cancellations, to READY: {shown(cancels(server, args.cancels))}")
            if "kill" in parts:
                print(f"{args.kills} killed workers, to READY: {shown(kills(server, args.kills))}")
            after = settled(server, before[1])
            left = sorted(it.name for it in server.temporary.iterdir())
            print(f"after: {mebibytes(after[0])}, {after[1]} descriptors; temporary files: {left}")
            if after[0] > before[0] + (8 << 20):
                wrong.append("the server's memory grows")
            if after[1] > before[1] or left:
                wrong.append("something is left behind")
    if "upload" in parts:
        found = upload(binary, args.gigabytes)
        for name, before, after in zip(("server", "worker"), found["before"], found["after"]):
            print(f"upload of {args.gigabytes:g} GiB, {name}: {mebibytes(before)} before, {mebibytes(after)} at most")
            if after > before + (64 << 20):
                wrong.append(f"the {name}'s memory grows with the upload")
        print(f"  {found['seconds']:.1f} s; without an upload URL: {found['refusal']}")
    if wrong:
        sys.exit("; ".join(wrong))
    return None


if __name__ == "__main__":
    try:
        main()
    except Wrong as error:
        sys.exit(f"wrong: {error}")
