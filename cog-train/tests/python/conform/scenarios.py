"""What both servers are sent. A scenario is a function of one side; it records answers by names that both sides share."""

import base64
import json
import os
import signal
import threading
import time

from servers import Server

# As they stand in a request's body.
VALUES = r"""
null true false 0 1 2 3 10 11 -1 1.0 1.5 1e0 1e3 -0.0 0.1 0.5000001 9007199254740993 9223372036854775807 9223372036854775808
18446744073709551615 18446744073709551616 -9223372036854775808 -9223372036854775809 1e308 1e400
"" "a" "ab" "abcde" "abcdef" "\u00e9\u00e9" "日本語文字" "日本語文字数" "🦜🦜" "abc\n" "\n" "ABC" "a1" "3" "true" "null" "adam" "sgd" "ADAM"
"\u0000" "\ud83e\udd9c" [] [1] [1,2] ["a"] ["a","b"] [1,"a",null] [1.0] [[1]] [true] {} {"a":1} {"a":{"b":[1.5,null]}} [null] [{"a":1}]
""".split()
FIELDS = "text word steps whole rate number flag optimizer level maybe name seven ids words extra key old unknown".split()


def scalars(sides, side):
    server = Server(sides, side, "scalars")
    yield server
    server.case("openapi", "GET", "/openapi.json")
    server.case("root", "GET", "/")
    for field in FIELDS:
        for value in VALUES:
            others = "" if field == "text" else '"text":"abc",'
            server.json(f"{field}={value}", "POST", "/trainings", f'{{"input":{{{others}"{field}":{value}}}}}')
    for name, body in {
        "nothing": "{}",
        "no input": '{"input":{}}',
        "null": '{"input":null}',
        "list": '{"input":[1]}',
        "text": '{"input":"abc"}',
        "number": '{"input":5}',
        "several mistakes": '{"input":{"steps":"3","rate":2,"optimizer":1,"level":"1","flag":0,"ids":[1,"x",2.5],"word":"A"}}',
        "two rules": '{"input":{"text":"","steps":11,"rate":-1}}',
        "given twice": '{"input":{"text":"abc","steps":1,"steps":2}}',
        "unknown names": '{"input":{"text":"abc","other":1,"Steps":2,"":3}}',
        "other keys": '{"input":{"text":"abc"},"version":"x","created_at":1,"output_file_prefix":"x","logs":null}',
        "null keys": '{"input":{"text":"abc"},"id":null,"webhook":null}',
        "null filter": '{"input":{"text":"abc"},"webhook_events_filter":null}',
        "null context": '{"input":{"text":"abc"},"context":null}',
        "context": '{"input":{"text":"abc"},"context":{"a":"b"}}',
        "long text": json.dumps({"input": {"text": "abc", "word": "a" * 100_000}}),
        "large": json.dumps({"input": {"text": "abc", "name": "n" * 8_000_000}}),
        "deep": '{"input":{"text":"abc","extra":{"a":' + "[" * 60 + "]" * 60 + "}}}",
        "too deep": '{"input":{"text":"abc","extra":{"a":' + "[" * 200 + "]" * 200 + "}}}",
    }.items():
        server.json(name, "POST", "/trainings", body)


BODIES = {
    "valid": "{}", "empty": "", "space": " ", "text": "hello", "list": "[]", "list of a number": "[1]", "number": "1", "string": '"a"',
    "null": "null", "true": "true", "NaN": '{"a":NaN}', "single quotes": "{'a':1}", "comma": '{"input":{},}', "comma behind": '{},', "twice": "{}{}",
    "cut": '{"input":{"mode":', "bom": "\ufeff{}", "comment": "{} // no", "overflow": '{"input":{"steps":1e999}}', "id number": '{"id":1}',
    "id list": '{"id":["a"]}', "input twice": '{"input":{},"input":{}}', "id twice": '{"id":"a","id":"b"}', "hook number": '{"webhook":1}',
    "filter text": '{"webhook_events_filter":"start"}', "filter unknown": '{"webhook_events_filter":["begin"]}',
    "filter number": '{"webhook_events_filter":[1]}', "filter empty": '{"webhook_events_filter":[]}',
    "filter twice": '{"webhook_events_filter":["start","start"]}', "context list": '{"context":[]}',
    "context number": '{"context":{"a":1}}', "context null": '{"context":{"a":null}}', "hook no address": '{"webhook":"nowhere"}',
    "hook empty": '{"webhook":""}', "hook of no server": '{"webhook":"http://127.0.0.1:9/x"}', "surrogate": '{"id":"\\ud800"}', "bad escape": '{"id":"\\x"}',
    "control": '{"id":"a\x01"}', "deep": "[" * 200,
}
TYPES = [
    "application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json", "application/vnd.api+json",
    "text/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "json", "",
    "application/json;", " application/json", "application/jsonx", "*/*",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]
PATHS = [
    "/", "/health-check", "/openapi.json", "/shutdown", "/trainings", "/trainings/abc", "/trainings/abc/cancel", "/docs", "/redoc", "/health",
    "/Trainings", "/trainings/", "/trainings/abc/", "/trainings/abc/cancel/", "/trainings//cancel", "//", "/trainings?a=b", "/health-check?x=1", "/ready", "/metrics",
    "/openapi.yaml", "/trainings/abc/nothing", "/trainings/abc/cancel/x", "/favicon.ico", "/%74rainings",
]


def protocol(sides, side):
    server = Server(sides, side, "jobs" if side == "ours" else "Jobs")
    yield server
    for name, body in BODIES.items():
        for method, path in ("POST", "/trainings"), ("PUT", "/trainings/shape"):
            # An id that was trained is another question: see `again`.
            path += "" if method == "POST" else f"-{len(server.records)}"
            server.json(f"{method} body {name}", method, path, body)
    for type in TYPES:
        server.case(f"type `{type}`", "POST", "/trainings", "{}", [("Content-Type", type)])
        server.case(f"type `{type}`, no body", "POST", "/trainings", None, [("Content-Type", type)])
    server.case("no type", "POST", "/trainings", '{"input":{"mode":"fail"}}')
    server.case("no type, not JSON", "POST", "/trainings", "hello")
    server.case("no body", "POST", "/trainings")
    for method in METHODS:
        for path in PATHS:
            if (method, path) not in [("POST", "/shutdown"), ("POST", "/trainings"), ("POST", "/trainings?a=b"), ("PUT", "/trainings/abc"), ("POST", "/%74rainings")]:
                server.case(f"{method} {path}", method, path)
    for accept in ["*/*", "application/json", "text/html", "text/event-stream", "application/json, text/event-stream", "text/event-stream;q=0.5", "TEXT/EVENT-STREAM", ""]:
        server.json(f"accept `{accept}`", "POST", "/trainings", "{}", headers=[("Accept", accept)])
        server.json(f"PUT accept `{accept}`", "PUT", f"/trainings/accept{len(server.records)}", "{}", headers=[("Accept", accept)])
    for prefer in ["respond-async", "Respond-Async", "respond-async, wait=5", "wait=5", "", "respond-async;a=b", " respond-async "]:
        server.json(f"prefer `{prefer}`", "POST", "/trainings", "{}", headers=[("Prefer", prefer)])
        server.wait_for("READY")
    for id in ["a", "A-1_b", "x" * 128, "x" * 129, "", ".", "..", "a.b", "a b", "ä", "a/b", "../../etc", "~", "a%2Fb", "null", "0"]:
        server.json(f"id `{id}`", "POST", "/trainings", {"id": id})
    for id in ["put", "put.dot", "put%20space", "put%2Fslash", "%2e%2e", "%C3%A4", "%FF", "y" * 128, "y" * 129, "put~"]:
        server.json(f"PUT id `{id}`", "PUT", f"/trainings/{id}", {})
    server.json("the same id in the body", "PUT", "/trainings/same", {"id": "same"})
    server.json("another id in the body", "PUT", "/trainings/one", {"id": "other"})
    server.json("another id and wrong input", "PUT", "/trainings/one", {"id": "other", "input": {"steps": -1}})
    server.json("input null id null", "PUT", "/trainings/one", {"id": None, "input": None})
    server.json("predictions", "POST", "/predictions", {"input": {}})
    server.json("predictions by id", "PUT", "/predictions/p", {"input": {}})
    server.case("predictions cancel", "POST", "/predictions/nobody/cancel")


def trainings(sides, side):
    server = Server(sides, side, "jobs" if side == "ours" else "Jobs")
    yield server
    for mode in "ok", "fail", "panic", "lines", "metrics":
        server.json(f"{mode}, synchronous", "POST", "/trainings", {"input": {"mode": mode}})
        server.wait_for("READY")
        answer = server.hooks(f"{mode}, webhooks", mode, {"input": {"mode": mode}})
        server.record(f"{mode}, webhooks: last", answer[-1][1])
        # Logs come in as many hooks as the clock allows.
        server.record(f"{mode}, webhooks: others", sorted({hook["status"] for _, hook in answer[:-1]}))
        server.record(f"{mode}, webhooks: keys", sorted({tuple(sorted(hook)) for _, hook in answer}))
        server.record(f"{mode}, webhooks: type", answer[-1][0].get("content-type"))
        server.record(f"{mode}, webhooks: agent", answer[-1][0].get("user-agent"))
    for name, events in {"none": [], "start": ["start"], "completed": ["completed"], "output": ["output"], "logs": ["logs"], "two": ["start", "completed"]}.items():
        path = f"/{side}/filter-{name}"
        body = {"input": {"mode": "lines", "steps": 1}, "webhook": server.receiver.url + path, "webhook_events_filter": events}
        server.json(f"filter {name}", "POST", "/trainings", body)
        server.wait_for("READY")
        time.sleep(0.3)
        sent = [json.loads(hook[3]) for hook in server.receiver.of(path)]
        server.record(f"filter {name}: sent", [[hook["status"], sorted(hook), hook.get("output"), hook["logs"] if name != "logs" else None] for hook in sent])
    trace = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "a=b")]
    body = {"input": {}, "webhook": f"{server.receiver.url}/{side}/trace", "webhook_events_filter": ["completed"]}
    server.json("trace", "POST", "/trainings", body, headers=trace)
    hook = server.receiver.until(f"/{side}/trace", bool)[-1][2]
    server.record("trace: sent", {name: hook.get(name) for name in ("traceparent", "tracestate", "authorization")})

    # One that runs.
    server.begin("runs", "r", {"input": {"mode": "wait"}})
    server.wait_for("BUSY")
    until_printed(server, "r")
    health = json.loads(server.send("GET", "/health-check")[2])
    server.record("health, busy", {"status": health["status"], "keys": sorted(health), "setup": sorted(health["setup"])})
    server.json("PUT again", "PUT", "/trainings/r", {"input": {"mode": "wait"}})
    server.json("PUT again, other input", "PUT", "/trainings/r", {"input": {"mode": "ok"}})
    server.json("PUT again, wrong input", "PUT", "/trainings/r", {"input": {"mode": "never"}})
    server.json("PUT again, another id in the body", "PUT", "/trainings/r", {"id": "q"})
    server.json("POST of the id", "POST", "/trainings", {"id": "r"}, busy=True)
    server.json("POST while busy", "POST", "/trainings", {"input": {}}, busy=True)
    server.json("POST while busy, asynchronous", "POST", "/trainings", {"input": {}}, busy=True, headers=[("Prefer", "respond-async")])
    server.json("PUT while busy", "PUT", "/trainings/s", {"input": {}}, busy=True)
    server.json("wrong input while busy", "POST", "/trainings", {"input": {"steps": -1}}, busy=True)
    server.json("not JSON while busy", "POST", "/trainings", "{", busy=True)
    server.case("cancel of another", "POST", "/trainings/s/cancel")
    server.case("cancel with a body", "POST", "/trainings/s/cancel", '{"a":1}', [("Content-Type", "text/plain")])
    server.case("cancel", "POST", "/trainings/r/cancel")
    server.wait_for("READY")
    server.case("cancel again", "POST", "/trainings/r/cancel")
    server.case("cancel by a wrong method", "GET", "/trainings/r/cancel")

    # Cancelled, with its webhook and for whoever waits.
    path = f"/{side}/canceled"
    server.begin("canceled: created", "c", {"input": {"mode": "wait"}, "webhook": server.receiver.url + path})
    until_printed(server, "c")
    server.case("canceled: cancel", "POST", "/trainings/c/cancel")
    sent = server.receiver.until(path, lambda it: any(json.loads(hook[3])["status"] == "canceled" for hook in it))
    server.record("canceled: last webhook", json.loads(sent[-1][3]))
    server.wait_for("READY")
    waiting = threading.Thread(target=lambda: server.json("canceled, synchronous", "PUT", "/trainings/w", {"input": {"mode": "wait"}}))
    waiting.start()
    until_printed(server, "w")
    server.case("canceled, synchronous: cancel", "POST", "/trainings/w/cancel")
    waiting.join()
    server.wait_for("READY")
    try:
        body = json.dumps({"input": {"mode": "wait"}})
        server.send("PUT", "/trainings/g", body, [("Content-Type", "application/json")], timeout=0.5)
    except OSError:
        pass
    server.record("the client has gone", server.wait_for("READY"))

    # One that has ended.
    server.json("again: first", "PUT", "/trainings/again", {"input": {"mode": "lines", "steps": 1}})
    server.json("again: the same", "PUT", "/trainings/again", {"input": {"mode": "lines", "steps": 1}})
    server.json("again: other input", "PUT", "/trainings/again", {"input": {"mode": "lines", "steps": 2}})
    server.json("again: POST", "POST", "/trainings", {"id": "again", "input": {"mode": "lines", "steps": 1}})
    server.json("again: a failed one", "PUT", "/trainings/failed", {"input": {"mode": "fail"}})
    server.json("again: a failed one, the same", "PUT", "/trainings/failed", {"input": {"mode": "fail"}})
    server.case("cancel of one that has ended", "POST", "/trainings/again/cancel")


def until_printed(server, id):
    """Waits until the training has begun: it has printed something. The input is wrong, so that no training is created."""
    for _ in range(500):
        status, _, text = server.send("PUT", f"/trainings/{id}", '{"input":{"steps":-1}}', [("Content-Type", "application/json")])
        if status == 202 and "waiting" in json.loads(text).get("logs", ""):
            return
        time.sleep(0.02)
    raise AssertionError(f"{server.side}: `{id}` does not begin: {text}")


NAMES = ["w.safetensors", "w.pth", "w.bin", "w.gguf", "d.jsonl", "none", "w.tar", "w.tar.gz", "w.zip", "d.json", "d.txt", "d.csv", "i.png", "c.yaml", "c.yml", "p.md", "x.TXT", "a b.txt", "ü.txt", "missing.bin"]
OUTPUTS = {
    "text": ("name", ["", "a", "ünï 🦜", "line\nline", '"quoted"', "\u0000", "x" * 100_000]),
    "whole": ("value", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63)]),
    "number": ("value", [0.0, 1, -0.5, 1 / 11, 1e300, 5e-324, 0.1, 123456789.123456789]),
    "truth": ("value", [True, False]),
    "file": ("name", NAMES),
    "files_out": ("names", [[], ["a.txt"], ["a.txt", "b.json"], ["a.txt", "missing.bin"]]),
    "fields": ("name", NAMES),
    "mapping": ("name", ["b", "a", "ü"]),
    "items": ("names", [[], ["a"], ["b", "a", ""]]),
}


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
        for trainer in "file", "files_out", "fields":
            prefix = f"/{kind}-{side}-{trainer}"
            suffix = "/?token=secret" if kind == "query" else ("/" if trainer == "file" else "")
            server = Server(sides, side, trainer, ["--upload-url", server_url(sides) + prefix + suffix])
            yield server
            for name in ["w.safetensors", "d.txt", "a b.txt", "missing.bin"]:
                value = [name, "2.json"] if trainer == "files_out" else name
                before = len(sides.receiver.of(prefix))
                case = f"{trainer}, {kind}, {name}"
                server.json(case, "PUT", f"/trainings/{kind}-{trainer}-{name[0]}", {"input": {OUTPUTS[trainer][0]: value}})
                server.wait_for("READY")
                sent = [(it[1].replace(prefix, "PREFIX"), it[2].get("content-type"), it[2].get("x-prediction-id"), it[3].decode()) for it in sides.receiver.of(prefix)[before:]]
                server.record(f"{case}: uploaded", sorted(sent))
                text = json.dumps(server.records[case]).replace(prefix, "PREFIX")
                server.records[case] = json.loads(text)


def server_url(sides):
    return sides.receiver.url


def data_url(text, type="text/plain"):
    return f"data:{type};base64,{base64.b64encode(text.encode()).decode()}"


def files(sides, side):
    server = Server(sides, side, "files", ours=["--allow-local"])
    yield server
    server.case("openapi", "GET", "/openapi.json")
    url = sides.receiver.url
    with open(os.path.join(server.folder, "local.txt"), "w") as file:
        file.write("local bytes\n")
    given = {
        "http": f"{url}/a.txt", "jsonl": f"{url}/b.jsonl", "no extension": f"{url}/noext", "query": f"{url}/a.txt?x=1.gz", "escaped": f"{url}/a%20b.txt",
        "empty file": f"{url}/empty", "redirect": f"{url}/redirect", "not found": f"{url}/missing", "refused": "http://127.0.0.1:9/a.txt",
        "no host": "http://nowhere.invalid/a.txt", "data": data_url("hello"), "data json": data_url("{}", "application/json"),
        "data bin": data_url("x", "application/octet-stream"), "data unknown": data_url("x", "application/x-nothing"), "data no type": "data:;base64,aGk=",
        "data text": "data:text/plain,hello%20you", "data bad": "data:text/plain;base64,!!!!", "data empty": "data:text/plain;base64,", "data short": "data:",
        "local": "local.txt", "local absolute": os.path.join(server.folder, "local.txt"), "local missing": "nothing.txt", "folder": ".", "empty": "", "ftp": "ftp://example.com/x",
        "file address": "file://" + os.path.join(server.folder, "local.txt"), "number": 5, "null": None, "list": ["a"],
    }
    for name, value in given.items():
        server.json(name, "POST", "/trainings", {"input": {"data": value}})
    for name, value in {
        "two": [f"{url}/a.txt", data_url("b")], "none": [], "one missing": [f"{url}/a.txt", f"{url}/missing"], "text": f"{url}/a.txt", "number": [5], "null": None,
        "one local": ["local.txt"], "local and address": ["local.txt", f"{url}/a.txt"],
    }.items():
        server.json(f"more: {name}", "POST", "/trainings", {"input": {"data": data_url("a"), "more": value}})
    for name in "http", "data", "not found", "null":
        server.json(f"extra: {name}", "POST", "/trainings", {"input": {"data": data_url("a"), "extra": given[name]}})


def local(sides, side):
    """The same without `--allow-local`."""
    server = Server(sides, side, "files")
    yield server
    for name, value in {"path": "/etc/hostname", "address": f"{sides.receiver.url}/a.txt", "file address": "file:///etc/hostname"}.items():
        server.json(name, "POST", "/trainings", {"input": {"data": value}})


def lifecycle(sides, side):
    jobs = "jobs" if side == "ours" else "Jobs"

    def states(server, name):
        health = json.loads(server.send("GET", "/health-check")[2])
        setup = {key: value for key, value in health["setup"].items() if key != "logs"}
        server.record(f"{name}: health", {**health, "setup": setup})
        for path in "/", "/openapi.json":
            server.case(f"{name}: {path}", "GET", path)
        server.json(f"{name}: POST", "POST", "/trainings", {"input": {}})
        server.json(f"{name}: wrong input", "POST", "/trainings", {"input": {"steps": "a"}})
        server.json(f"{name}: not JSON", "POST", "/trainings", "{")
        server.json(f"{name}: PUT", "PUT", "/trainings/early", {"input": {}})
        server.json(f"{name}: another id", "PUT", "/trainings/early", {"id": "x"})
        server.json(f"{name}: events", "POST", "/trainings", "{}", headers=[("Accept", "text/event-stream")])
        server.case(f"{name}: cancel", "POST", "/trainings/early/cancel")

    server = Server(sides, side, jobs, env={"CONFORM_SETUP": "slow"}, wait="STARTING")
    yield server
    states(server, "starting")
    server.wait_for("READY")
    health = json.loads(server.send("GET", "/health-check")[2])
    server.record("ready: printed in setup", [line for line in health["setup"]["logs"].splitlines() if "setting up" in line])
    del health["setup"]["logs"]
    server.record("ready: health", health)
    with open(os.path.join(server.folder, "unhealthy"), "w"):
        pass
    server.wait_for("UNHEALTHY")
    health = json.loads(server.send("GET", "/health-check")[2])
    del health["setup"]["logs"]
    server.record("unhealthy: health", health)
    server.json("unhealthy: POST", "POST", "/trainings", {"input": {}})
    os.remove(os.path.join(server.folder, "unhealthy"))
    server.wait_for("READY")
    server.json("healthy again: POST", "POST", "/trainings", {"input": {}})
    server.case("shutdown", "POST", "/shutdown")
    server.record("shutdown: exit code", server.process.wait(PATIENCE))

    server = Server(sides, side, jobs, env={"CONFORM_SETUP": "fail"}, wait="SETUP_FAILED")
    yield server
    states(server, "setup failed")
    logs = json.loads(server.send("GET", "/health-check")[2])["setup"]["logs"]
    server.record("setup failed: names the cause", "setup boom" in logs)
    server.process.send_signal(signal.SIGTERM)
    server.record("setup failed: exit code by SIGTERM", server.process.wait(PATIENCE))

    server = Server(sides, side, jobs, env={"CONFORM_SETUP": "slow", "COG_SETUP_TIMEOUT": "1"}, wait="SETUP_FAILED")
    yield server
    health = json.loads(server.send("GET", "/health-check")[2])
    server.record("setup too slow", {key: value for key, value in health["setup"].items() if key != "logs"})
    server.record("setup too slow: says so", "timed out" in health["setup"]["logs"])

    for name, arguments, signals in [("terminated", [], [signal.SIGTERM]), ("interrupted", [], [signal.SIGINT]), ("explicit", ["--await-explicit-shutdown", "true"], [signal.SIGTERM])]:
        server = Server(sides, side, jobs, arguments)
        yield server
        for it in signals:
            server.process.send_signal(it)
        if name == "explicit":
            time.sleep(0.5)
            server.record("explicit: still there", server.wait_for("READY"))
            server.case("explicit: shutdown", "POST", "/shutdown")
        server.record(f"{name}: exit code", server.process.wait(PATIENCE))

    # A signal during a training: one that is waited for, and one that is not.
    server = Server(sides, side, jobs)
    yield server
    path = f"/{side}/terminated"
    waiting = threading.Thread(target=lambda: server.json("terminated: synchronous", "PUT", "/trainings/t", {"input": {"mode": "slow", "steps": 100}, "webhook": server.receiver.url + path}))
    waiting.start()
    server.wait_for("BUSY")
    server.process.send_signal(signal.SIGTERM)
    waiting.join()
    server.record("terminated: synchronous, exit code", server.process.wait(PATIENCE))
    server = Server(sides, side, jobs)
    yield server
    path = f"/{side}/dropped"
    server.begin("terminated: asynchronous", "t", {"input": {"mode": "slow", "steps": 100}, "webhook": server.receiver.url + path, "webhook_events_filter": ["completed"]})
    server.wait_for("BUSY")
    server.process.send_signal(signal.SIGTERM)
    server.record("terminated: asynchronous, exit code", server.process.wait(PATIENCE))
    time.sleep(0.3)
    server.record("terminated: asynchronous, webhooks", [json.loads(hook[3])["status"] for hook in server.receiver.of(path)])


PATIENCE = 60


def predictions(sides, side):
    speaker = "speaker" if side == "ours" else "Speaker"
    server = Server(sides, side, speaker, mode="predict")
    yield server
    server.case("root", "GET", "/")
    for name, body in {
        "valid": {"input": {"prompt": "hi"}}, "twice": {"input": {"prompt": "hi", "count": 2}}, "none": {"input": {"prompt": "hi", "count": 0}}, "missing": {"input": {}}, "null": {},
        "wrong": {"input": {"prompt": "", "count": 10}}, "fails": {"input": {"prompt": "fail"}}, "unknown": {"input": {"prompt": "hi", "x": 1}},
    }.items():
        server.json(f"POST {name}", "POST", "/predictions", body)
        server.json(f"PUT {name}", "PUT", f"/predictions/{name}", body)
    server.json("events", "POST", "/predictions", {"input": {"prompt": "hi"}}, headers=[("Accept", "text/event-stream")])
    server.json("asynchronous", "POST", "/predictions", {"input": {"prompt": "hi"}}, headers=[("Prefer", "respond-async")])
    server.wait_for("READY")
    server.case("cancel", "POST", "/predictions/nobody/cancel")
    server.json("another id in the body", "PUT", "/predictions/a", {"id": "b"})
    server.json("trainings", "POST", "/trainings", {"input": {"prompt": "hi"}})
    for method in METHODS:
        for path in "/predictions", "/predictions/abc", "/predictions/abc/cancel":
            if (method, path) not in [("POST", "/predictions"), ("PUT", "/predictions/abc")]:
                server.case(f"{method} {path}", method, path)
    if side == "ours":
        weights = os.path.join(sides.weights, "w.safetensors")
    else:
        weights = "w.safetensors"
    server = Server(sides, side, speaker, mode="predict", env={"COG_WEIGHTS": weights})
    yield server
    server.json("weights", "POST", "/predictions", {"input": {"prompt": "hi"}})
    server = Server(sides, side, speaker, mode="predict", env={"COG_WEIGHTS": ""})
    yield server
    server.json("empty weights", "POST", "/predictions", {"input": {"prompt": "hi"}})


ALL = [scalars, protocol, trainings, outputs, uploads, files, local, lifecycle, predictions]
