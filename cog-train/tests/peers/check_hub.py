"""Downloads a model here and with Python's huggingface_hub, from a hub on the loopback, and compares the caches.

    python3 -m venv venv && venv/bin/pip install huggingface_hub
    cargo build --example hub
    venv/bin/python cog-train/tests/peers/check_hub.py target/debug/examples/hub

- The caches that the two sides make from nothing are equal: names, links, contents.
- What one side has, the other returns without a request for content, online and offline, and Python's scan of the cache
  finds no fault in what either side made.
- Of two downloads at once, one of each side, one sends the content and the other waits for it.
- The partial file of an interrupted download is resumed.
"""

import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "org/tiny"
LARGE = {
    "model-00001-of-00002.safetensors": bytes(range(256)) * 4000,
    "model-00002-of-00002.safetensors": bytes(reversed(range(256))) * 4000,
    "tokenizer.model": b"sentencepiece" * 1000,
}
INDEX = {"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
SMALL = {
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "config.json": b'{"model_type": "llama"}',
    "generation_config.json": b"{}",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "tokenizer.json": b'{"version": "1.0"}',
}
WANTED = LARGE | SMALL
FILES = WANTED | {"README.md": b"# tiny", "pytorch_model.bin": b"pickle" * 100}


def git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(name):
    content = FILES[name]
    return hashlib.sha256(content).hexdigest() if name in LARGE else git_id(content)


class Hub(http.server.BaseHTTPRequestHandler):
    """What huggingface.co answers, for one model."""

    protocol_version = "HTTP/1.1"
    sent = []
    delay = 0.0
    storage = ""

    def log_message(self, *_):
        pass

    def answer(self, status, headers=None, body=b""):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def content(self, name, headers):
        """The content of a file, or the rest of it."""
        body = FILES[name]
        wanted = self.headers.get("Range")
        if self.command == "GET":
            Hub.sent.append((name, wanted))
            if name in LARGE:
                time.sleep(Hub.delay)
        if wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers = headers | {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
            return self.answer(206, headers, body[start:])
        if self.command == "HEAD":
            headers = headers | {"Content-Length": str(len(body))}
        self.answer(200, headers, body)

    def do_GET(self):
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path in (f"/api/models/{REPO}/revision/main", f"/api/models/{REPO}/revision/{COMMIT}"):
            names = [{"rfilename": name} for name in FILES]
            body = json.dumps({"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": names, "tags": []})
            return self.answer(200, {"Content-Type": "application/json"}, body.encode())
        if path == f"/api/models/{REPO}/tree/{COMMIT}":
            entries = []
            for name, content in FILES.items():
                entry = {"type": "file", "path": name, "size": len(content), "oid": git_id(content)}
                if name in LARGE:
                    entry["lfs"] = {"oid": etag(name), "size": len(content), "pointerSize": 130}
                entries.append(entry)
            return self.answer(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())
        commit = {"X-Repo-Commit": COMMIT}
        for revision in ("main", COMMIT):
            name = path.removeprefix(f"/{REPO}/resolve/{revision}/")
            if name in LARGE:
                linked = {"X-Linked-Etag": f'"{etag(name)}"', "X-Linked-Size": str(len(FILES[name]))}
                return self.answer(302, commit | linked | {"Location": f"{Hub.storage}/{urllib.parse.quote(name)}?signed"})
            if name in FILES:
                return self.content(name, commit | {"ETag": f'"{etag(name)}"'})
        self.answer(404, commit | {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET


class Storage(Hub):
    """The other server, which has the large files and must not see the token."""

    def do_GET(self):
        assert "Authorization" not in self.headers, "the token left the hub"
        self.content(urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)[1:], {"ETag": '"of-the-store"'})

    do_HEAD = do_GET


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


SNAPSHOT = f"""
import huggingface_hub, sys
print(huggingface_hub.snapshot_download({REPO!r}, allow_patterns={list(WANTED)!r}, max_workers=2))
"""
EACH = f"""
import huggingface_hub, os
for name in {list(WANTED)!r}:
    path = huggingface_hub.hf_hub_download({REPO!r}, name)
    assert huggingface_hub.try_to_load_from_cache({REPO!r}, name) == path, name
print(path.split(os.sep + "snapshots" + os.sep)[0])
"""
SCAN = f"""
import huggingface_hub
found = huggingface_hub.scan_cache_dir()
assert not found.warnings, found.warnings
[repo] = found.repos
[revision] = repo.revisions
assert (repo.repo_id, revision.commit_hash, revision.refs) == ({REPO!r}, {COMMIT!r}, frozenset(["main"])), repo
print(repo.nb_files, repo.size_on_disk)
"""
ABSENT = f"""
import huggingface_hub
assert huggingface_hub.try_to_load_from_cache({REPO!r}, "vocab.txt") is huggingface_hub._CACHED_NO_EXIST
"""


class Sides:
    def __init__(self, binary, endpoint):
        self.binary = binary
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self.environment |= {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_secret", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def start(self, command, home, **more):
        environment = self.environment | {"HF_HOME": str(home)} | more
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def python(self, home, code, **more):
        return finish(self.start([sys.executable, "-c", code], home, **more))

    def ours(self, home, *patterns, **more):
        return finish(self.start([self.binary, REPO, *patterns], home, **more))


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, f"{process.args}: {out}{err}"
    return out.strip()


def layout(home):
    """Every file and link of a cache. Python's listings and the caches of other tools are its own."""
    hub = pathlib.Path(home) / "hub"
    found = {}
    for path in sorted(hub.rglob("*")):
        name = path.relative_to(hub).as_posix()
        if "/trees" in name:
            continue
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", "")
        elif name == "CACHEDIR.TAG":
            found[name] = ("file", path.read_bytes().splitlines()[0])
        else:
            found[name] = ("file", hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def sent():
    taken, Hub.sent = Hub.sent, []
    Storage.sent = Hub.sent
    return taken


def main(binary):
    Hub.storage = Storage.storage = serve(Storage)
    sides = Sides(binary, serve(Hub))
    Storage.sent = Hub.sent
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        # Each side from nothing.
        theirs = sides.python(folder / "python", SNAPSHOT)
        by_python = {name for name, _ in sent()}
        ours = sides.ours(folder / "ours")
        by_us = [name for name, _ in sent()]
        assert by_python == set(by_us) == set(WANTED), (by_python, by_us)
        assert len(by_us) == len(WANTED), by_us
        assert ours.removeprefix(str(folder / "ours")) == theirs.removeprefix(str(folder / "python"))
        one, other = layout(folder / "python"), layout(folder / "ours")
        differences = {name: (one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)}
        assert not differences, differences
        print(f"equal caches: {len(one)} entries")

        # What the one has, the other does not download.
        assert sides.ours(folder / "python") == theirs
        assert sides.ours(folder / "python", HF_HUB_OFFLINE="1") == theirs
        assert sides.python(folder / "ours", SNAPSHOT) == ours
        assert sides.python(folder / "ours", EACH) == ours.split("/snapshots/")[0]
        assert sides.python(folder / "ours", SNAPSHOT, HF_HUB_OFFLINE="1") == ours
        assert sides.python(folder / "ours", EACH, HF_HUB_OFFLINE="1") == ours.split("/snapshots/")[0]
        assert not sent(), "content was sent again"
        assert sides.python(folder / "ours", SCAN) == sides.python(folder / "python", SCAN)
        refused = sides.start([binary, REPO, "config.json", "vocab.txt"], folder / "ours")
        assert refused.wait() == 1 and "has no file `vocab.txt`" in refused.stderr.read()
        sides.python(folder / "ours", ABSENT)
        print("no content is sent twice, online and offline")

        # Both at once: the second waits for the lock of the first.
        Hub.delay = Storage.delay = 1.5
        python = [sys.executable, "-c", SNAPSHOT]
        for at, (first, second) in enumerate([([binary, REPO], python), (python, [binary, REPO])]):
            home = folder / f"both{at}"
            processes = [sides.start(first, home)]
            deadline = time.monotonic() + 60
            while not any(name in LARGE for name, _ in Hub.sent):
                assert time.monotonic() < deadline, "the first download does not start"
                time.sleep(0.02)
            processes.append(sides.start(second, home))
            results = {finish(process) for process in processes}
            assert len(results) == 1, results
            names = sorted(name for name, _ in sent() if name in LARGE)
            assert names == sorted(LARGE), names
        Hub.delay = Storage.delay = 0.0
        print("of two downloads at once one sends the content")

        # A part that an earlier version of Python left.
        name = "model-00001-of-00002.safetensors"
        blobs = folder / "resumed/hub/models--org--tiny/blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{etag(name)}.incomplete").write_bytes(LARGE[name][:1000])
        sides.ours(folder / "resumed")
        assert (name, "bytes=1000-") in sent()
        assert layout(folder / "resumed") == other
        print("a partial file is resumed")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(str(pathlib.Path(sys.argv[1]).resolve()))
