"""Holds what the service sends to its own documents, `openapi.yaml` and `asyncapi.yaml`.

Every answer and every frame that any black-box test receives passes through here, so the documents are tried on whatever
the tests can think of. Runs that have `DESCRIBED_SEEN` set leave there what they have seen; `test_zz_documents.py` asks at
the end what is described and never came.
"""

import json
import os
import re
from collections import Counter
from functools import cache
from pathlib import Path

import yaml

WEB = Path(__file__).resolve().parents[2] / "Sources" / "API" / "Web"
OPENAPI, ASYNCAPI = "http://chat/openapi.yaml", "http://chat/asyncapi.yaml"
# Any route may answer what HTTP itself calls for; openapi.yaml says so once, in its description.
OF_HTTP = {400, 405, 408, 413, 414, 429, 431, 501, 503, 505}
# Looking at a body costs milliseconds; the first of each kind tell as much as a million.
LOOKS_PER_KIND = 40

answers_seen = Counter()  # (path, method, status)
frames_seen = Counter()  # message's name in asyncapi.yaml


@cache
def openapi():
    return yaml.safe_load((WEB / "openapi.yaml").read_text())


@cache
def asyncapi():
    return yaml.safe_load((WEB / "asyncapi.yaml").read_text())


@cache
def registry():
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012
    plain = {OPENAPI: openapi(), ASYNCAPI: asyncapi()}
    # Statuses are numbers in YAML, and a pointer needs text.
    return Registry().with_resources(
        (name, DRAFT202012.create_resource(json.loads(json.dumps(document)))) for name, document in plain.items())


@cache
def validator(document, *steps):
    from openapi_schema_validator import OAS31Validator
    pointer = "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return OAS31Validator({"$ref": f"{document}#/{pointer}"}, registry=registry())


def faults(value, document, *steps):
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator(document, *steps).iter_errors(value)]


@cache
def templates():
    """Each path with the pattern of the paths that it stands for, fixed ones first."""
    paths = sorted(openapi()["paths"], key=lambda path: path.count("{"))
    return [(path, re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)) + r"\Z")) for path in paths]


def path_of(target):
    path = target.split("?")[0]
    return next((template for template, pattern in templates() if pattern.match(path)), None)


def resolved(pointer, described):
    """What a `$ref` of openapi.yaml stands for, and where that is."""
    while "$ref" in described:
        pointer = [step.replace("~1", "/").replace("~0", "~") for step in described["$ref"].removeprefix("#/").split("/")]
        described = openapi()
        for step in pointer:
            described = described[step]
    return pointer, described


def saw(method, target, status):
    """For readers of their own: an answer that is looked at elsewhere."""
    answers_seen[(path_of(target), "get" if method == "HEAD" else method.lower(), status)] += 1


def check_answer(method, target, response):
    """Every answer of the service, whatever was asked."""
    if not target.startswith("/") or target.startswith("/bench/"):
        return
    path, operation_name = path_of(target), "get" if method == "HEAD" else method.lower()
    if path is None:
        assert response.status in OF_HTTP | {204, 401, 404}, f"{method} {target} is not described and answers {response!r}"
        return
    operation = openapi()["paths"][path].get(operation_name)
    if operation is None:
        assert response.status in OF_HTTP or (method == "OPTIONS" and response.status == 204), \
            f"{method} {path} is not described and answers {response!r}"
        return
    kind = (path, operation_name, response.status)
    answers_seen[kind] += 1
    responses = {str(status): described for status, described in operation["responses"].items()}
    described = responses.get(str(response.status))
    if described is None:
        assert response.status in OF_HTTP, f"{method} {path} answers {response.status}, which is not described: {response!r}"
        return
    if answers_seen[kind] > LOOKS_PER_KIND or method == "HEAD":
        return
    pointer, described = resolved(["paths", path, operation_name, "responses", str(response.status)], described)
    for name, header in described.get("headers", {}).items():
        if resolved([], header)[1].get("required"):
            assert response.header(name) is not None, f"{method} {path} {response.status} lacks {name}: {response!r}"
    content = described.get("content", {})
    if not content:
        assert response.body == b"", f"{method} {path} {response.status} is described without a body: {response!r}"
        return
    if response.body == b"" and response.status == 304:
        return
    assert response.media_type in content, f"{method} {path} {response.status}: {response.media_type} is not described"
    if response.media_type.endswith("json") and "schema" in content[response.media_type]:
        found = faults(response.json, OPENAPI, *pointer, "content", response.media_type, "schema")
        assert not found, f"{method} {path} {response.status} is not as described: {found}\n{response!r}"


def messages(operation):
    return [reference["$ref"].split("/")[-1] for reference in asyncapi()["operations"][operation]["messages"]]


@cache
def server_frames():
    """The messages that the server sends, by their `type`."""
    every = asyncapi()["components"]["messages"]
    return {every[name]["payload"]["properties"]["type"]["const"]: name for name in messages("serverSends")}


def check_frame(frame):
    """Every text frame of a chat socket, and every event of a stream."""
    name = server_frames().get(frame.get("type"))
    assert name, f"asyncapi.yaml does not describe this frame: {frame}"
    frames_seen[name] += 1
    if frames_seen[name] > LOOKS_PER_KIND * 5:
        return
    found = faults(frame, ASYNCAPI, "components", "messages", name, "payload")
    assert not found, f"a frame is not as described: {found}\n{frame}"


def leave_what_was_seen():
    """For the run that asks at the end; a file for each process."""
    directory = os.environ.get("DESCRIBED_SEEN")
    if directory and (answers_seen or frames_seen):
        seen = {"answers": [list(kind) for kind in answers_seen], "frames": list(frames_seen)}
        Path(directory).mkdir(parents=True, exist_ok=True)
        (Path(directory) / f"{os.getpid()}.json").write_text(json.dumps(seen))


def all_that_was_seen():
    """Answers and frames of all the runs before; None when there were none."""
    files = list(Path(os.environ.get("DESCRIBED_SEEN", "/nowhere")).glob("*.json"))
    if not files:
        return None
    runs = [json.loads(file.read_text()) for file in files]
    return {tuple(kind) for run in runs for kind in run["answers"]}, {name for run in runs for name in run["frames"]}
