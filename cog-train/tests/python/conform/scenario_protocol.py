"""Bodies, content types, methods, addresses, headers and ids; and the twins for predictions."""

import os

from servers import Server

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
