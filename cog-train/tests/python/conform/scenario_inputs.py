"""Inputs: every kind of value for every kind of input, and files."""

import base64
import json
import os

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
