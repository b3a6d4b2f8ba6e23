"""API.md is what it says: every operation of openapi.yaml has an example there, and each example works as it stands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import described
from conftest import make_token

PAGE = Path(__file__).resolve().parents[2] / "API.md"
HEADING = re.compile(r"^### ([A-Z]+) (\S+)$")


def examples():
    """(heading, language, text) of each example, in order."""
    found, heading, language, lines = [], None, None, []
    for line in PAGE.read_text().splitlines():
        if match := HEADING.match(line):
            heading = f"{match[1]} {match[2]}"
        elif language is None and line.startswith("```"):
            language, lines = line[3:], []
        elif line == "```":
            found.append((heading, language, "\n".join(lines)))
            language = None
        elif language is not None:
            lines.append(line)
    return found


def test_every_operation_has_an_example_and_nothing_else_has():
    operations = {f"{method.upper()} {re.sub('{.*?}', '{id}', path)}" for path, methods in described.openapi()["paths"].items()
                  for method in methods if method in ("get", "post", "put", "patch", "delete")}
    shown = {re.sub("{.*?}", "{id}", heading) for heading, _, _ in examples()}
    assert operations - shown == set(), "without an example"
    assert shown - operations == set(), "not described"


@pytest.fixture(scope="module")
def surroundings(shared_service):
    """The functions of the page's head, and what the examples' names stand for."""
    head = PAGE.read_text().split("## ")[0]
    functions = "\n".join(line.strip() for line in head.splitlines() if re.match(r"    (ask|agent)\(\)", line))
    assert functions.count("curl") == 2
    user = "alice"
    variables = {
        "CHAT": f"http://{shared_service.authority}", "TOKEN": make_token(user), "AGENT": make_token("kim", role="agent"),
        "RUN": "run_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061",
    }
    return functions, variables


def learn(variables, output):
    """Ids out of an answer, for the examples behind it."""
    for name, pattern in (("CONVERSATION", "conv"), ("SESSION", "sess"), ("MESSAGE", "msg")):
        if name not in variables and (match := re.search(rf'"({pattern}_[0-9a-f-]+)"', output)):
            variables[name] = match[1]


@pytest.mark.parametrize("heading, language, text", examples(), ids=[f"{i}: {example[0]}" for i, example in enumerate(examples())])
def test_an_example_works_as_it_stands(surroundings, heading, language, text):
    functions, variables = surroundings
    method, path = heading.split()
    environment = {**os.environ, **variables}
    if language == "python":
        result = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        assert "'ack'" in result.stdout and "'completed'" in result.stdout
        return
    assert language == "sh"
    names = set(re.findall(r"\$([A-Z]+)", text))
    assert names <= set(variables), f"{names - set(variables)}: no answer before this had it"
    script = f"set -euo pipefail\n{functions}\n{text}\n"
    result = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, f"{text}\n{result.stdout}\n{result.stderr}"
    fixed = re.escape(path.split("{")[0])
    assert re.search(rf"\$CHAT{fixed}", text), f"the example under {heading} asks for something else"
    learn(variables, result.stdout)
    if "|| test" not in text and result.stdout.startswith("{"):
        json.loads(result.stdout)
