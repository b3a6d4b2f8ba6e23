"""A walk over every route of openapi.yaml: nobody gets in without a credential, without the permission or from another
tenant, and a body of another type is refused. A route that is added is walked over by itself."""

import pytest

import described
from conftest import RawWebSocket, check_problem, make_token

METHODS = ("get", "post", "put", "patch", "delete")
OPEN_TO_LOOPBACK = ("/metrics", "/health/detailed")
GUARDED = [(path, method, operation) for path, operations in described.openapi()["paths"].items() if path not in OPEN_TO_LOOPBACK
           for method, operation in operations.items() if method in METHODS and operation.get("security") != []]
REQUESTS = [case for case in GUARDED if not case[0].endswith("/ws")]
OF_ONE_THING = [case for case in GUARDED if "{" in case[0]]


def names(cases):
    return [f"{method.upper()} {path}" for path, method, _ in cases]


@pytest.fixture(scope="module")
def target(shared_service):
    """Fills a path in with things that are there, alice's of `demo`."""
    answer = shared_service.client().say()
    conversation, message, session = answer["conversation_id"], answer["message"]["id"], answer["session_id"]

    def fill(path):
        if "/runs/" in path:
            return path.replace("{id}", "run_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061")
        return path.replace("{id}", session if "/sessions/" in path else conversation).replace("{message_id}", message)

    return fill


def example(operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    if "example" in content:
        return content["example"]
    return next(iter(content.get("examples", {}).values()), {"value": {}}).get("value", {})


def ask(client, method, path, operation, **options):
    return client.request(method.upper(), path, example(operation), **options)


@pytest.mark.parametrize("path, method, operation", REQUESTS, ids=names(REQUESTS))
def test_nobody_gets_in_without_a_credential(service, target, path, method, operation):
    check_problem(ask(service.anonymous(), method, target(path), operation), 401, "unauthenticated")


@pytest.mark.parametrize("path, method, operation", REQUESTS, ids=names(REQUESTS))
def test_nobody_gets_in_without_the_permission(service, target, path, method, operation):
    client = service.client("nobody", token=make_token("nobody", role="stranger"))
    response = ask(client, method, target(path), operation)
    assert response.status in (403, 404), repr(response)
    if "403" in {str(status) for status in operation["responses"]} and "/runs/" not in path:
        check_problem(response, 403, "forbidden")


@pytest.mark.parametrize("token, status", [("nonsense", 401), (make_token("nobody", role="stranger"), 403)], ids=["bad", "stranger"])
def test_no_socket_opens_without_them_either(service, token, status):
    with RawWebSocket(service, "/api/v2/chat/ws", {"Authorization": f"Bearer {token}"}) as socket:
        if socket.handshake.status == 101:
            socket.expect_close(4401 if status == 401 else 4403)
        else:
            assert socket.handshake.status == status


def test_no_socket_opens_for_another_tenant_than_the_credentials(service, alice):
    headers = {**alice.authorization(), "X-Tenant-ID": "acme"}
    with RawWebSocket(service, "/api/v2/chat/ws", headers) as socket:
        assert socket.handshake.status == 403


@pytest.mark.parametrize("role", ["end_user", "agent", "service", "admin"])
@pytest.mark.parametrize("path, method, operation", OF_ONE_THING, ids=names(OF_ONE_THING))
def test_a_thing_of_another_tenant_is_not_there(service, target, path, method, operation, role):
    client = service.client("mallory", token=make_token("mallory", tenant="acme", role=role))
    response = ask(client, method, target(path), operation)
    assert response.status in (403, 404), repr(response)
    assert b"conv_" not in response.body.replace(target(path).encode(), b""), "nothing of it is said"


@pytest.mark.parametrize("path, method, operation", [case for case in GUARDED if example(case[2]) is not None],
                         ids=names([case for case in GUARDED if example(case[2]) is not None]))
def test_a_body_of_another_type_is_refused(service, target, path, method, operation):
    client = service.client(role="admin")
    response = client.request(method.upper(), target(path), b"seq=1", headers={"Content-Type": "text/plain"})
    check_problem(response, 415)


@pytest.mark.parametrize("path", ["/", "/widget.js", "/console", "/console.js", "/openapi.yaml", "/asyncapi.yaml"])
def test_what_is_at_hand_already_is_only_confirmed(service, path):
    first = service.anonymous().get(path)
    again = service.anonymous().get(path, headers={"If-None-Match": first.header("ETag")})
    assert again.status == 304 and again.body == b""
