"""Each type of output, as an answer and as an upload."""

import io
import json
import tarfile

from servers import Server

NAMES = ["w.safetensors", "w.pth", "w.bin", "w.gguf", "d.jsonl", "none", "w.tar", "w.tar.gz", "w.zip", "d.json", "d.txt", "d.csv", "i.png", "c.yaml", "c.yml", "p.md", "x.TXT", "a b.txt", "ü.txt", "missing.bin"]
OUTPUTS = {
    "text": ("name", ["", "a", "ünï 🦜", "line\nline", '"quoted"', "\u0000", "x" * 100_000]),
    "whole": ("value", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]),
    "number": ("value", [0.0, 1, -0.5, 1 / 11, 1e300, 5e-324, 0.1, 123456789.123456789]),
    "truth": ("value", [True, False]),
    "file": ("name", NAMES),
    "files_out": ("names", [[], ["a.txt"], ["a.txt", "b.json"], ["a.txt", "missing.bin"]]),
    "fields": ("name", NAMES),
    "folder_out": ("name", ["model", "a b"]),
    "folders": ("name", ["model"]),
    "mapping": ("name", ["b", "a", "ü"]),
    "items": ("names", [[], ["a"], ["b", "a", ""]]),
}


def shown(sent):
    """The bytes of an upload as text; of an archive, the names and the contents in it."""
    try:
        with tarfile.open(fileobj=io.BytesIO(sent)) as archive:
            return {it.name: archive.extractfile(it).read().decode() for it in archive if it.isfile()}
    except tarfile.TarError:
        return sent.decode()


def outputs(sides, side):
    for trainer, (name, values) in OUTPUTS.items():
        server = Server(sides, side, trainer)
        yield server
        server.case(f"{trainer}: openapi", "GET", "/openapi.json")
        for index, value in enumerate(values):
            shown = str(value)[:20]
            server.json(f"{trainer}: {shown}", "POST", "/trainings", {"input": {name: value}})
            if trainer in ("text", "file", "files_out", "fields", "items") and index < 3:
                sent = server.hooks(f"{trainer}: {shown}, webhooks", f"{trainer}-{index}", {"input": {name: value}, "webhook_events_filter": ["output", "completed"]})
                server.record(f"{trainer}: {shown}, webhooks: sent", [hook for _, hook in sent])


def uploads(sides, side):
    for kind in "plain", "located", "refuse", "query":
        for trainer in "file", "files_out", "fields", "folder_out", "folders":
            prefix = f"/{kind}-{side}-{trainer}"
            suffix = "/?token=secret" if kind == "query" else ("/" if trainer == "file" else "")
            server = Server(sides, side, trainer, ["--upload-url", sides.receiver.url + prefix + suffix])
            yield server
            for name in ["model"] if "folder" in trainer else ["w.safetensors", "d.txt", "a b.txt", "missing.bin"]:
                value = [name, "2.json"] if trainer == "files_out" else name
                before = len(sides.receiver.of(prefix))
                case = f"{trainer}, {kind}, {name}"
                server.json(case, "PUT", f"/trainings/{kind}-{trainer}-{name[0]}", {"input": {OUTPUTS[trainer][0]: value}})
                server.wait_for("READY")
                sent = [(it[1].replace(prefix, "PREFIX"), it[2].get("content-type"), it[2].get("x-prediction-id"), shown(it[3])) for it in sides.receiver.of(prefix)[before:]]
                server.record(f"{case}: uploaded", sorted(sent, key=str))
                text = json.dumps(server.records[case]).replace(prefix, "PREFIX")
                server.records[case] = json.loads(text)
