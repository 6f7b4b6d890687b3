"""Trainings from their start to their end, and servers."""

import json
import os
import signal
import threading
import time

from servers import PATIENCE, Server

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
