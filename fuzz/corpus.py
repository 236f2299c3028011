"""A first corpus for the fuzz targets out of recorded conversations: the bodies that were sent, and what they came upon."""

import hashlib
import json
import pathlib
import sys

source, output = map(pathlib.Path, sys.argv[1:])


def put(target, data):
    folder = output / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def expressions(value):
    if isinstance(value, dict):
        for key, below in value.items():
            if key in ("expression", "rule", "messageExpression", "valueExpression") and isinstance(below, str):
                yield below
            else:
                yield from expressions(below)
    elif isinstance(value, list):
        for below in value:
            yield from expressions(below)


for path in sorted(source.rglob("*.json")):
    case = json.loads(path.read_text())
    last = {}
    for step in case.get("steps", []):
        body = step.get("body")
        query = step.get("do", "").partition("?")[2]
        for part in query.split("&"):
            if part:
                put("selectors", part.partition("=")[2].encode())
        if body is not None:
            text = json.dumps(body, separators=(",", ":")).encode()
            put("text", text)
            if step["do"].startswith("PATCH"):
                put("patches", text + b"\0" + json.dumps(last).encode())
            else:
                put("kinds", b"\0" + text)
            for expression in expressions(body):
                put("cel", expression.encode())
            if isinstance(body, dict) and body.get("kind") == "CustomResourceDefinition":
                for version in body.get("spec", {}).get("versions", []):
                    schema = version.get("schema", {}).get("openAPIV3Schema")
                    if schema:
                        put("definitions", json.dumps(schema).encode() + b"\0{}")
        answer = step.get("answer", {}).get("body")
        if isinstance(answer, dict):
            last = answer
            put("kinds", b"\0" + json.dumps(answer, separators=(",", ":")).encode())
