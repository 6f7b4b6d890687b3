"""The two servers, a client that records masked answers, and a receiver of webhooks, uploads and downloads."""

import http.client
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 120
MASKS = [
    (re.compile(r"pred_[0-9a-f]{12,}"), "pred_N"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "TIME"),
]


def masked(value, key=None):
    if key in ("predict_time", "build_time", "git_sha", "python", "python_sdk"):
        return f"a {type(value).__name__}"
    if isinstance(value, dict):
        return {name: masked(it, name) for name, it in value.items()}
    if isinstance(value, list):
        return [masked(it) for it in value]
    if isinstance(value, str):
        for pattern, mask in MASKS:
            value = pattern.sub(mask, value)
    return value


class Receiver:
    """Records what is sent to it. GET serves the files that the trainers are given."""

    FILES = {"/a.txt": b"text of a\n", "/b.jsonl": b'{"b": 1}\n', "/noext": b"no extension", "/empty": b"", "/a%20b.txt": b"a space\n"}

    def __init__(self):
        received, self.received = [], []
        self.received = received

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path = self.path.split("?")[0]
                if path == "/redirect":
                    self.answer(302, Location="/a.txt")
                elif path in Receiver.FILES:
                    self.answer(200, Receiver.FILES[path])
                else:
                    self.answer(404)

            def take(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                received.append((self.command, self.path, dict((k.lower(), v) for k, v in self.headers.items()), body))

            def do_POST(self):
                self.take()
                self.answer(200)

            def do_PUT(self):
                self.take()
                if self.path.startswith("/refuse"):
                    self.answer(403)
                elif self.path.startswith("/located"):
                    self.answer(201, Location="https://files.example.com/kept/x?signature=secret")
                else:
                    self.answer(200)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def of(self, path):
        return [it for it in list(self.received) if it[1].split("?")[0].startswith(path)]

    def until(self, path, enough):
        """Waits until what has come to a path is enough, and returns it."""
        end = time.time() + PATIENCE
        while not enough(self.of(path)) and time.time() < end:
            time.sleep(0.02)
        return self.of(path)


class Server:
    """A server of one side, `cog` or `ours`, in a folder of its own."""

    def __init__(self, sides, side, name, arguments=(), ours=(), env=None, mode="train", wait="READY"):
        self.side, self.receiver, self.records = side, sides.receiver, {}
        self.folder = tempfile.mkdtemp(prefix=f"conform-{side}-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        variables = {**os.environ, "PORT": str(self.port), "PYTHONUNBUFFERED": "1", **(env or {})}
        arguments = ["-m", "cog.server.http", "--x-mode", mode, "--host", "127.0.0.1", *arguments]
        if side == "cog":
            command = [sides.python, *arguments]
            # Its worker is the `python` of the path.
            variables["PATH"] = os.path.dirname(sides.python) + os.pathsep + variables["PATH"]
            shutil.copy(os.path.join(HERE, "trainers.py"), self.folder)
            os.mkdir(os.path.join(self.folder, ".cog"))
            with open(os.path.join(self.folder, ".cog", "openapi_schema.json"), "w") as file:
                file.write(sides.schema(name))
            variables["COG_TRAIN_TYPE_STUB" if mode == "train" else "COG_PREDICT_TYPE_STUB"] = f"trainers.py:{name}"
        else:
            command = [sides.binary, *arguments, *ours]
            variables["CONFORM"] = name
        self.log = open(os.path.join(self.folder, "server.log"), "w")
        self.process = subprocess.Popen(command, cwd=self.folder, env=variables, stdout=self.log, stderr=self.log)
        try:
            self.wait_for(wait)
        except BaseException:
            self.stop()
            raise

    def wait_for(self, *statuses):
        end = time.time() + PATIENCE
        last = None
        while time.time() < end:
            if self.process.poll() is not None:
                break
            try:
                last = json.loads(self.send("GET", "/health-check")[2])["status"]
                if last in statuses:
                    return last
            except OSError:
                pass
            time.sleep(0.02)
        with open(self.log.name) as file:
            raise AssertionError(f"{self.side} is {last} and not {statuses}:\n{file.read()[-3000:]}")

    def send(self, method, path, body=None, headers=(), timeout=PATIENCE):
        """Sends a request, and returns status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            body = body.encode() if isinstance(body, str) else body
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None or method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def record(self, name, value):
        assert name not in self.records, f"two requests are named {name}"
        text = json.dumps(masked(value)).replace(self.receiver.url, "RECEIVER").replace(f"127.0.0.1:{self.port}", "SERVER")
        self.records[name] = json.loads(text)
        return value

    def case(self, name, method, path, body=None, headers=(), busy=False):
        """Sends a request and records the answer. While the slot of an earlier training is not yet free, it is sent again."""
        for _ in range(200):
            status, head, text = self.send(method, path, body, headers)
            if status != 409 or busy or "At capacity" not in text:
                break
            time.sleep(0.02)
        try:
            found = json.loads(text)
        except ValueError:
            found = text
        kept = {it: head[it] for it in ("content-type", "allow", "location") if it in head}
        self.record(name, {"status": status, "headers": kept, "body": found})
        return found

    def json(self, name, method, path, body, **options):
        """`case` with a JSON body."""
        text = body if isinstance(body, str) else json.dumps(body)
        headers = [("Content-Type", "application/json"), *options.pop("headers", ())]
        return self.case(name, method, path, text, headers, **options)

    def begin(self, name, id, body):
        """Creates a training by PUT without waiting for it."""
        return self.json(name, "PUT", f"/trainings/{id}", body, headers=[("Prefer", "respond-async")])

    def hooks(self, name, id, body, path=None):
        """Runs a training with webhooks; returns their heads and bodies, the last one of the training at the end."""
        path = f"/{self.side}/{path or id}"
        body = {**body, "webhook": self.receiver.url + path}
        self.begin(f"{name}: created", id, body)
        sent = self.receiver.until(path, lambda it: any(json.loads(hook[3])["status"] != "processing" for hook in it))
        self.wait_for("READY")
        time.sleep(0.2)
        sent = self.receiver.of(path)
        # Each comes by a connection of its own, so that the order of two is chance.
        return sorted(((hook[2], json.loads(hook[3])) for hook in sent), key=lambda hook: (hook[1]["status"] != "processing", len(hook[1].get("output") or [])))

    def stop(self):
        """Ends the server, and removes its folder."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
