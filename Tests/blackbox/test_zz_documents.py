"""The documents and the service say the same, in both directions. `described.py` looks at every answer and frame of all
tests; what is described and never came is found here, in a run of its own after them."""

import re

import pytest
import yaml

import described

# Statuses that need a fault of the machine, or a race, that no test can be sure to meet.
OF_CHANCE = {500, 503, 504}
# Two requests at the very same moment; and a request from another machine.
OF_RACES = {("/api/v2/chat/conversations/{id}/messages", "post", 409),
            ("/api/v2/chat/conversations/{id}/messages/{message_id}", "delete", 409)}
FROM_ELSEWHERE = {(path, "get", status) for path in ("/metrics", "/health/detailed") for status in (401, 403)}
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def seen():
    """(answers, frames) of the other tests, when a run of all of them left them (`scripts/test.sh` does)."""
    found = described.all_that_was_seen()
    if found is None:
        pytest.skip("says something only after all the other tests: DESCRIBED_SEEN names where they left what they saw")
    return found


def test_the_served_documents_are_the_ones_that_were_held_to(service):
    for name in ("openapi.yaml", "asyncapi.yaml"):
        response = service.anonymous().get(f"/{name}")
        assert response.status == 200 and response.media_type == "application/yaml"
        assert response.body == (described.WEB / name).read_bytes()


def test_each_reference_of_asyncapi_leads_somewhere(service):
    document = yaml.safe_load(service.anonymous().get("/asyncapi.yaml").text)
    assert document["asyncapi"].startswith("3.")

    def walk(value):
        if isinstance(value, dict):
            if "$ref" in value:
                base, _, pointer = value["$ref"].partition("#")
                target = described.openapi() if base == "openapi.yaml" else document
                assert base in ("", "openapi.yaml"), value
                for step in pointer.strip("/").split("/"):
                    target = target[step]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(document)
    named = {name for operation in document["operations"] for name in described.messages(operation)}
    assert named == set(document["components"]["messages"]) == set(document["channels"]["chat"]["messages"])


def test_the_examples_of_asyncapi_are_what_they_are_examples_of():
    for name, message in described.asyncapi()["components"]["messages"].items():
        for example in message.get("examples", []):
            assert not described.faults(example["payload"], described.ASYNCAPI, "components", "messages", name, "payload"), name


@pytest.mark.parametrize("described_type", sorted(
    described.asyncapi()["components"]["messages"][name]["payload"]["properties"]["type"]["const"]
    for name in described.messages("clientSends")))
def test_the_server_knows_every_frame_that_a_client_may_send(service, alice, described_type):
    with service.chat(alice) as socket:
        socket.send(type=described_type, id="x")
        socket.send(type="ping")
        frames = socket.settle()
        assert not [frame for frame in frames if frame["type"] == "error"
                    and any(error["code"] == "unknown_type" for error in frame["problem"].get("errors", []))]


def test_every_described_answer_came(seen):
    missing = []
    for path, operations in described.openapi()["paths"].items():
        for method in METHODS:
            for status in operations.get(method, {}).get("responses", {}):
                kind = (path, method, int(status))
                if int(status) not in OF_CHANCE | described.OF_HTTP and kind not in seen[0] | OF_RACES | FROM_ELSEWHERE:
                    missing.append(kind)
    assert not missing, f"described, and no test has seen it: {missing}"


def test_every_described_frame_came(seen):
    missing = [name for name in described.messages("serverSends") if name not in seen[1]]
    assert not missing, f"described, and no test has seen it: {missing}"


def test_close_codes_that_the_documents_name_are_those_of_the_program():
    sources = described.WEB.parents[2] / "Sources" / "ShardRuntime"
    used = {int(code) for file in sources.glob("*.swift")
            for code in re.findall(r"close(?:Socket)?\([^()]*?\b(1\d{3}|4\d{3})\b", file.read_text())}
    text = described.asyncapi()["info"]["description"]
    named = {int(code) for code in re.findall(r"\b(1\d{3}|4\d{3})\b", text)}
    assert used <= named, f"not described: {used - named}"
