"""HTTP/1.1 as RFC 9110 and 9112 have it, over sockets that send any bytes: well formed, split, pipelined, hostile."""

import json
import threading
import time

import pytest

from conftest import (PROBLEM, REQUEST_ID_PATTERN, ConnectionEnded, check_answer, check_problem, chunked, eventually,
                      request_bytes)

HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\nX-Request-ID: smuggled\r\n\r\n"


def post_message_bytes(client, text, request_id=None, **headers):
    body = json.dumps(client.message_body(text)).encode()
    fields = {**client.authorization(), "Content-Type": "application/json", **headers}
    if request_id:
        fields["X-Request-ID"] = request_id
    return request_bytes("POST", "/api/v2/chat/message", fields, body)


def refused(connection, data, statuses):
    """Sends a bad request with a good one behind it: one problem answer, then the end, and nothing of the second."""
    connection.send_leniently(data + HEALTH)
    response = connection.response()
    check_problem(response, statuses)
    assert response.header("X-Request-ID") != "smuggled"
    connection.expect_end()
    return response


# --- Responses


def test_an_answer_carries_length_type_and_request_id(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/health"))
    response = connection.response()
    assert (response.version, response.status) == ("HTTP/1.1", 200)
    assert int(response.header("Content-Length")) == len(response.body)
    assert response.media_type == "application/json"
    assert REQUEST_ID_PATTERN.match(response.header("X-Request-ID"))


def test_bench_plaintext_is_thirteen_bytes_of_text(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/bench/plaintext"))
    response = connection.response()
    assert response.status == 200 and len(response.body) == 13 and response.media_type == "text/plain"


def test_header_names_are_case_insensitive_and_padding_is_dropped(raw):
    connection = raw()
    connection.send(b"GET /health HTTP/1.1\r\nhOsT:\t  test \t\r\nx-ReQuEsT-iD:   padded-1   \r\n\r\n")
    response = connection.response()
    assert response.status == 200 and response.header("X-Request-ID") == "padded-1"


@pytest.mark.parametrize("target", ["/health?", "/health?a=b&c=%20", "http://test/health", "http://test:80/health?x=1"])
def test_origin_and_absolute_form_with_a_query_are_understood(raw, target):
    connection = raw()
    connection.send(request_bytes("GET", target))
    response = connection.response()
    assert response.status == 200 and response.json["status"] == "pass"


def test_empty_lines_before_a_request_line_are_skipped(raw):
    connection = raw()
    connection.send(b"\r\n" + request_bytes("GET", "/health"))
    assert connection.response().status == 200


# --- Pipelining and splits


def test_mixed_pipelined_requests_are_answered_in_order(raw, alice):
    conversation_id = alice.say("Hello")["conversation_id"]
    history = f"/api/v2/chat/conversations/{conversation_id}?limit=1"
    requests, expected = [], []
    for round_number in range(12):
        for kind in ("health", "message", "history", "plaintext", "unknown", "message", "sink"):
            request_id = f"{kind}-{round_number}-{len(expected)}"
            fields = {**alice.authorization(), "X-Request-ID": request_id}
            requests.append({
                "health": lambda: request_bytes("GET", "/health", fields),
                "message": lambda: post_message_bytes(alice, request_id, request_id),
                "history": lambda: request_bytes("GET", history, fields),
                "plaintext": lambda: request_bytes("GET", "/bench/plaintext", fields),
                "unknown": lambda: request_bytes("GET", "/no/such/route", fields),
                "sink": lambda: request_bytes("POST", "/bench/sink", {**fields, "Transfer-Encoding": "chunked"},
                                              chunked(b"x" * 100, 7)),
            }[kind]())
            expected.append((request_id, 404 if kind == "unknown" else 200))
    connection = raw(timeout=30)
    sender = threading.Thread(target=connection.send, args=(b"".join(requests),))
    sender.start()
    seqs = []
    for request_id, status in expected:
        response = connection.response()
        assert (response.header("X-Request-ID"), response.status) == (request_id, status), repr(response)
        if request_id.startswith("message"):
            answer = check_answer(response)
            assert answer["message"]["content"]["text"] == request_id
            seqs.append(answer["message"]["seq"])
    sender.join()
    assert seqs == sorted(seqs) and len(set(seqs)) == len(seqs), "one connection's messages keep their order"


def test_a_deep_pipeline_of_fast_requests_is_answered_completely(raw):
    connection, count = raw(timeout=30), 2_000
    data = b"".join(request_bytes("GET", "/health", {"X-Request-ID": f"n{number}"}) for number in range(count))
    sender = threading.Thread(target=connection.send, args=(data,))
    sender.start()
    assert [connection.response().header("X-Request-ID") for _ in range(count)] == [f"n{n}" for n in range(count)]
    sender.join()


def test_a_message_is_understood_when_split_at_every_byte(raw, alice):
    reference = post_message_bytes(alice, "split 0000")
    connection = raw()
    for split in range(1, len(reference)):
        text = f"split {split:04d}"
        data = post_message_bytes(alice, text)
        connection.send(data[:split])
        connection.wait_until_read()
        connection.send(data[split:])
        response = connection.response()
        assert response.status == 200, f"split before byte {split}: {response!r}"
        assert response.json["message"]["content"]["text"] == text


def test_a_message_is_understood_byte_by_byte(raw, alice):
    connection = raw()
    for byte in post_message_bytes(alice, "drip"):
        connection.send(bytes([byte]))
        connection.wait_until_read()
    response = connection.response()
    assert response.status == 200 and response.json["message"]["content"]["text"] == "drip"


def test_a_chunked_body_is_understood_when_split_at_every_byte(raw):
    body = b"The quick brown fox"
    data = request_bytes("POST", "/bench/sink", {"Transfer-Encoding": "chunked", "Trailer": "X-Sum"},
                         chunked(body, 6, ";name=\"a;b\"", [("X-Sum", "1")]))
    connection = raw()
    for split in range(1, len(data)):
        connection.send(data[:split])
        connection.wait_until_read()
        connection.send(data[split:])
        response = connection.response()
        assert (response.status, response.json["bytes"]) == (200, len(body)), f"split before byte {split}: {response!r}"


def test_two_requests_split_at_every_byte_stay_two(raw):
    data = request_bytes("GET", "/health", {"X-Request-ID": "one"}) + request_bytes(
        "POST", "/bench/sink", {"X-Request-ID": "two"}, b"12345")
    connection = raw()
    for split in range(1, len(data)):
        connection.send(data[:split])
        connection.wait_until_read()
        connection.send(data[split:])
        assert connection.response().header("X-Request-ID") == "one", split
        second = connection.response()
        assert (second.header("X-Request-ID"), second.json["bytes"]) == ("two", 5), split


# --- Bodies

SIZES = [0, 1, 2, 13, 125, 126, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 16_383, 16_384, 16_385, 65_535, 65_536,
         65_537, 262_144, 1_048_576, 5_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_the_sink_counts_a_body_with_a_length(raw, size):
    connection = raw(timeout=30)
    connection.send(request_bytes("POST", "/bench/sink", body=b"x" * size) + HEALTH)
    response = connection.response()
    assert (response.status, response.json) == (200, {"bytes": size})
    assert connection.response().header("X-Request-ID") == "smuggled", "the next request begins after the body"


@pytest.mark.parametrize("chunk", [1, 7, 4096, 65_536, 1_000_000])
@pytest.mark.parametrize("size", [0, 1, 13, 1024, 4097, 65_537, 1_048_576, 5_000_000])
def test_the_sink_counts_a_chunked_body(raw, size, chunk):
    if size // chunk > 20_000:
        size = chunk * 20_000 + 1
    connection = raw(timeout=30)
    connection.send(request_bytes("POST", "/bench/sink", {"Transfer-Encoding": "chunked"}, chunked(b"y" * size, chunk))
                    + HEALTH)
    response = connection.response()
    assert (response.status, response.json) == (200, {"bytes": size})
    assert connection.response().header("X-Request-ID") == "smuggled"


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_the_coding_name_is_case_insensitive(raw, coding):
    connection = raw()
    connection.send(request_bytes("POST", "/bench/sink", {"Transfer-Encoding": coding}, b"3\r\nabc\r\n0\r\n\r\n"))
    assert connection.response().json == {"bytes": 3}


@pytest.mark.parametrize("framing", [
    b"5\r\nhello\r\n0\r\n\r\n", b"05\r\nhello\r\n00\r\n\r\n", b"5;ext\r\nhello\r\n0;last\r\n\r\n",
    b"5;a=b;c=\"d e\"\r\nhello\r\n0\r\n\r\n", b"2\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\nX-Other: 2\r\n\r\n",
])
def test_chunk_extensions_leading_zeros_and_trailers_are_understood(raw, framing):
    connection = raw()
    connection.send(request_bytes("POST", "/bench/sink", {"Transfer-Encoding": "chunked"}, framing) + HEALTH)
    assert connection.response().json == {"bytes": 5}
    assert connection.response().header("X-Request-ID") == "smuggled"


def test_hexadecimal_digits_of_both_cases_are_understood(raw):
    connection = raw()
    for size in (b"aB", b"AB", b"ab"):
        connection.send(request_bytes("POST", "/bench/sink", {"Transfer-Encoding": "chunked"},
                                      size + b"\r\n" + b"z" * 0xAB + b"\r\n0\r\n\r\n"))
        assert connection.response().json == {"bytes": 0xAB}


def test_a_message_may_come_chunked(raw, alice):
    body = json.dumps(alice.message_body("in pieces")).encode()
    connection = raw()
    connection.send(request_bytes("POST", "/api/v2/chat/message", {
        **alice.authorization(), "Content-Type": "application/json", "Transfer-Encoding": "chunked"}, chunked(body, 5)))
    assert check_answer(connection.response())["message"]["content"]["text"] == "in pieces"


# --- Expect: 100-continue


def test_the_server_invites_a_body_that_waits_for_it(raw, alice):
    body = json.dumps(alice.message_body("by invitation")).encode()
    connection = raw()
    connection.send(request_bytes("POST", "/api/v2/chat/message", {
        **alice.authorization(), "Content-Type": "application/json", "Expect": "100-continue",
        "Content-Length": len(body)}))
    assert connection.response(interim=True).status == 100
    connection.send(body)
    assert check_answer(connection.response())["message"]["content"]["text"] == "by invitation"


def test_a_body_that_does_not_wait_for_the_invitation_is_taken_too(raw):
    connection = raw()
    connection.send(request_bytes("POST", "/bench/sink", {"Expect": "100-continue"}, b"12345") + HEALTH)
    assert connection.response().json == {"bytes": 5}
    assert connection.response().header("X-Request-ID") == "smuggled"


def test_a_body_that_is_too_large_is_refused_instead_of_invited(raw, alice):
    connection = raw()
    connection.send(request_bytes("POST", "/api/v2/chat/message", {
        **alice.authorization(), "Content-Type": "application/json", "Expect": "100-continue",
        "Content-Length": 1_000_000}))
    check_problem(connection.response(interim=True), 413, "payload_too_large")


# --- HEAD, OPTIONS, connection rules


@pytest.mark.parametrize("path", ["/health", "/bench/plaintext", "/livez", "/info"])
def test_head_has_the_headers_of_get_and_no_body(raw, path):
    connection = raw()
    connection.send(request_bytes("GET", path))
    whole = connection.response()
    connection.send(request_bytes("HEAD", path) + request_bytes("GET", "/bench/plaintext"))
    head = connection.response("HEAD")
    assert head.status == whole.status == 200 and head.media_type == whole.media_type
    if path == "/bench/plaintext":
        assert head.header("Content-Length") == "13"
    assert len(connection.response().body) == 13, "the next answer begins where the head ended"


def test_head_on_an_unknown_path_is_a_404_without_a_body(raw):
    connection = raw()
    connection.send(request_bytes("HEAD", "/no/such/route") + request_bytes("GET", "/bench/plaintext"))
    assert connection.response("HEAD").status == 404
    assert len(connection.response().body) == 13


def test_options_on_the_server_itself_is_answered(raw):
    connection = raw()
    connection.send(request_bytes("OPTIONS", "*") + HEALTH)
    response = connection.response()
    assert response.status in (200, 204)
    assert connection.response().header("X-Request-ID") == "smuggled"


def test_the_asterisk_is_for_options_only(raw):
    refused_or_closed = raw()
    refused_or_closed.send(request_bytes("GET", "*"))
    check_problem(refused_or_closed.response(), 400)


def test_a_connection_serves_many_requests(raw):
    connection = raw()
    for number in range(200):
        connection.send(request_bytes("GET", "/health", {"X-Request-ID": f"k{number}"}))
        assert connection.response().header("X-Request-ID") == f"k{number}"


@pytest.mark.parametrize("value", ["close", "Close", "keep-alive, close", "close, x-other", "x-other,close"])
def test_connection_close_ends_the_connection_after_the_answer(raw, value):
    connection = raw()
    connection.send(request_bytes("GET", "/health", {"Connection": value}) + HEALTH)
    response = connection.response()
    assert response.status == 200 and "close" in response.header("Connection", "").lower()
    connection.expect_end()


def test_version_1_0_closes_by_default(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/health", version="HTTP/1.0"))
    assert connection.response().status == 200
    connection.expect_end()


def test_version_1_0_needs_no_host(raw):
    connection = raw()
    connection.send(b"GET /health HTTP/1.0\r\n\r\n")
    assert connection.response().status == 200
    connection.expect_end()


def test_version_1_0_may_ask_to_keep_the_connection(raw):
    connection = raw()
    ask = request_bytes("GET", "/health", {"Connection": "keep-alive"}, version="HTTP/1.0")
    connection.send(ask)
    response = connection.response()
    assert response.status == 200
    if "keep-alive" in response.header("Connection", "").lower():
        connection.send(ask)
        assert connection.response().status == 200
    else:
        connection.expect_end()


def test_version_1_0_is_never_answered_in_chunks(raw, alice):
    connection = raw()
    connection.send(request_bytes("GET", "/metrics", version="HTTP/1.0"))
    response = connection.response()
    assert response.status == 200 and response.header("Transfer-Encoding") is None


def test_a_client_that_half_closes_still_gets_its_answer(raw):
    import socket
    connection = raw()
    connection.send(request_bytes("GET", "/health", {"X-Request-ID": "half"}))
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.response().header("X-Request-ID") == "half"
    connection.expect_end()


def test_a_client_that_half_closes_gets_an_answer_that_comes_later_and_then_the_end(raw, alice):
    import socket
    connection = raw()
    connection.send(post_message_bytes(alice, "last words"))
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.response().status == 200
    connection.expect_end()


def test_clients_that_vanish_at_any_moment_harm_nobody(service, raw, alice):
    data = post_message_bytes(alice, "gone")
    for cut in (0, 1, 10, len(data) // 2, len(data) - 1, len(data)):
        for goodbye in ("close", "reset"):
            connection = service.raw()
            connection.send(data[:cut])
            getattr(connection, goodbye)()
    bystander = raw()
    bystander.send(HEALTH)
    assert bystander.response().status == 200


# --- Routes and methods


@pytest.mark.parametrize("path", ["/no/such/route", "/api/v2/chat/nothing", "/api/v1/chat/message", "/healthz/x",
                                  "/HEALTH", "/health/../info2", "/bench/nothing", "/api/v2/chat/message/extra"])
def test_an_unknown_path_is_not_found(alice, path):
    check_problem(alice.get(path), 404, "not_found")


@pytest.mark.parametrize("method,path,allowed", [
    ("POST", "/health", {"GET"}), ("DELETE", "/health", {"GET"}), ("PUT", "/livez", {"GET"}),
    ("PATCH", "/readyz", {"GET"}), ("POST", "/metrics", {"GET"}), ("DELETE", "/info", {"GET"}),
    ("GET", "/api/v2/chat/message", {"POST"}), ("DELETE", "/api/v2/chat/message", {"POST"}),
    ("PUT", "/api/v2/chat/message", {"POST"}), ("GET", "/api/v2/auth/guest", {"POST"}),
    ("POST", "/api/v2/chat/conversations", {"GET"}), ("DELETE", "/api/v2/chat/conversations", {"GET"}),
    ("PUT", "/api/v2/chat/conversations/conv_0190b1d2-0000-7000-8000-000000000000", {"GET"}),
    ("POST", "/api/v2/chat/ws", {"GET"}), ("GET", "/bench/sink", {"POST"}), ("POST", "/bench/plaintext", {"GET"}),
])
def test_a_known_path_with_another_method_names_the_methods_it_allows(alice, method, path, allowed):
    response = alice.request(method, path)
    check_problem(response, 405, "method_not_allowed")
    methods = {name.strip() for name in response.header("Allow").split(",")}
    assert allowed <= methods and method not in methods


@pytest.mark.parametrize("method", ["BREW", "get", "Post", "PROPFIND", "X" * 20])
def test_a_method_that_nobody_knows_is_not_implemented(raw, method):
    connection = raw()
    connection.send(request_bytes(method, "/health"))
    check_problem(connection.response(), (501, 405))


@pytest.mark.parametrize("method,target", [("TRACE", "/health"), ("CONNECT", "test:443"), ("CONNECT", "/health")])
def test_trace_and_connect_are_refused(raw, method, target):
    connection = raw()
    connection.send_leniently(request_bytes(method, target, {"X-Secret": "mirror-me"}))
    response = connection.response()
    check_problem(response, (400, 405, 501))
    assert b"mirror-me" not in response.body


# --- Bad requests

BAD_HEADS = {
    "no Host": b"GET /health HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same Host twice": b"GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "a space in Host": b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a path in Host": b"GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a user in Host": b"GET /health HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "a list in Host": b"GET /health HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "obs-fold with a space": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n",
    "obs-fold with a tab": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\tc\r\n\r\n",
    "a fold in the first field": b"GET /health HTTP/1.1\r\n Host: a\r\n\r\n",
    "bare LF after the request line": b"GET /health HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a field": b"GET /health HTTP/1.1\r\nHost: a\nX-A: b\r\n\r\n",
    "bare LF at the end": b"GET /health HTTP/1.1\r\nHost: a\r\n\n\r\n\r\n",
    "only bare LFs": b"GET /health HTTP/1.1\nHost: a\n\n",
    "bare CR in a value": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n",
    "bare CR in the request line": b"GET /health\r HTTP/1.1\r\nHost: a\r\n\r\n",
    "NUL in a value": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\x00c\r\n\r\n",
    "NUL in a name": b"GET /health HTTP/1.1\r\nHost: a\r\nX\x00A: b\r\n\r\n",
    "NUL in the target": b"GET /he\x00alth HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in a value": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\x01c\r\n\r\n",
    "DEL in a value": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: b\x7fc\r\n\r\n",
    "a space before the colon": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n",
    "a tab before the colon": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A\t: b\r\n\r\n",
    "a space in a name": b"GET /health HTTP/1.1\r\nHost: a\r\nX A: b\r\n\r\n",
    "an empty name": b"GET /health HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "no colon": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n",
    "a non-token name": b"GET /health HTTP/1.1\r\nHost: a\r\nX(A): b\r\n\r\n",
    "a non-ASCII name": b"GET /health HTTP/1.1\r\nHost: a\r\nX-\xc3\xa9: b\r\n\r\n",
    "two spaces after the method": b"GET  /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "two spaces after the target": b"GET /health  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab in the request line": b"GET\t/health HTTP/1.1\r\nHost: a\r\n\r\n",
    "a space at the end of the request line": b"GET /health HTTP/1.1 \r\nHost: a\r\n\r\n",
    "a space at the beginning": b" GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /health\r\nHost: a\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
    "an empty target": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a space": b"GET /hea lth HTTP/1.1\r\nHost: a\r\n\r\n",
    "a relative target": b"GET health HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target with a fragment": b"GET /health#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in the target": b"GET /hea\x1flth HTTP/1.1\r\nHost: a\r\n\r\n",
    "a raw non-ASCII target": b"GET /h\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a lower-case version": b"GET /health http/1.1\r\nHost: a\r\n\r\n",
    "a version of three digits": b"GET /health HTTP/1.10\r\nHost: a\r\n\r\n",
    "a version without a dot": b"GET /health HTTP/11\r\nHost: a\r\n\r\n",
    "another protocol": b"GET /health ICY/1.1\r\nHost: a\r\n\r\n",
    "a method with a bad character": b"G@T /health HTTP/1.1\r\nHost: a\r\n\r\n",
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40 + b"\r\n\r\n",
    "noise": bytes(range(128, 256)) + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_head_is_refused_and_the_connection_ends(raw, name):
    refused(raw(), BAD_HEADS[name], 400)


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_malformed_head_is_refused_byte_by_byte_too(raw, name):
    connection = raw()
    for byte in BAD_HEADS[name]:
        connection.send_leniently(bytes([byte]))
    check_problem(connection.response(), 400)
    connection.expect_end()


BAD_FRAMINGS = {
    "length and coding": "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "coding and length": "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "length zero and coding": "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6",
    "the same length twice": "Content-Length: 5\r\nContent-Length: 5",
    "a list of lengths": "Content-Length: 5, 5",
    "a list of different lengths": "Content-Length: 5, 6",
    "a negative length": "Content-Length: -5",
    "a signed length": "Content-Length: +5",
    "a hexadecimal length": "Content-Length: 0x5",
    "a length with letters": "Content-Length: 5a",
    "a length with a space": "Content-Length: 5 5",
    "a length with a point": "Content-Length: 5.0",
    "an empty length": "Content-Length:",
    "a quoted length": "Content-Length: \"5\"",
    "chunked twice": "Transfer-Encoding: chunked, chunked",
    "chunked in two fields": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "an empty coding": "Transfer-Encoding:",
    "a coding with a space before the colon": "Transfer-Encoding : chunked",
    "a quoted coding": "Transfer-Encoding: \"chunked\"",
    "a coding behind a vertical tab": "Transfer-Encoding: \x0bchunked",
    "a coding with a parameter": "Transfer-Encoding: chunked;q=1",
    "a folded coding": "Transfer-Encoding:\r\n chunked",
}


@pytest.mark.parametrize("name", BAD_FRAMINGS)
def test_ambiguous_framing_is_an_attack_and_is_refused(raw, name):
    data = ("POST /bench/sink HTTP/1.1\r\nHost: a\r\n" + BAD_FRAMINGS[name] + "\r\n\r\n").encode("latin-1")
    response = refused(raw(), data + b"0\r\n\r\n", (400, 501))
    assert response.status == 400 or "coding" in name or "chunked" in name


@pytest.mark.parametrize("coding", ["gzip", "identity", "chunked, gzip", "gzip, chunked", "xchunked", "chunkedx", "cow"])
def test_a_transfer_coding_that_is_not_chunked_is_refused(raw, coding):
    data = f"POST /bench/sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n".encode()
    refused(raw(), data + b"0\r\n\r\n", (400, 501))


def test_version_1_0_with_a_transfer_coding_is_refused(raw):
    refused(raw(), b"POST /bench/sink HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, 501))


@pytest.mark.parametrize("length", ["9223372036854775808", "18446744073709551616", "18446744073709551621", "9" * 60])
def test_a_length_beyond_every_integer_does_not_wrap(raw, length):
    refused(raw(), f"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode(), (400, 413))


BAD_CHUNKS = {
    "no digits": b"\r\nhello\r\n0\r\n\r\n",
    "not hexadecimal": b"zz\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "a prefixed size": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a space before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a size of many digits": b"f" * 40 + b"\r\nhello\r\n0\r\n\r\n",
    "no CRLF after the data": b"5\r\nhello0\r\n\r\n",
    "other bytes after the data": b"5\r\nhelloXX0\r\n\r\n",
    "bare LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "bare CR after the size": b"5\rhello\r\n0\r\n\r\n",
    "bare LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "NUL in an extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "an extension without end": b"5;" + b"a" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    "a trailer without a colon": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
    "bare LF in a trailer": b"5\r\nhello\r\n0\r\nX-A: b\n\r\n\r\n",
    "trailers without end": b"5\r\nhello\r\n0\r\n" + b"X-A: b\r\n" * 10_000 + b"\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_malformed_chunk_is_refused_and_the_connection_ends(raw, name):
    data = b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name]
    refused(raw(), data, (400, 413, 431))


@pytest.mark.parametrize("hidden", [
    # Front ends that read one of the two framings would take the second request for a body, or the reverse.
    b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5c\r\n",
    b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n",
    b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\n: chunked\r\n\r\n0\r\n\r\n",
    b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
])
def test_a_smuggled_request_is_never_answered(raw, hidden):
    refused(raw(), hidden, (400, 501))


def test_a_get_with_a_body_does_not_turn_the_body_into_a_request(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/health", {"X-Request-ID": "outer"}, body=HEALTH)
                    + request_bytes("GET", "/health", {"X-Request-ID": "after"}))
    data = [connection.response().header("X-Request-ID")]
    assert data == ["outer"]
    try:
        assert connection.response().header("X-Request-ID") == "after"
    except ConnectionEnded:
        pass  # Closing is the other honest answer to a body that nobody wants.


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/0.9"])
def test_another_major_version_is_not_supported(raw, version):
    refused(raw(), request_bytes("GET", "/health", version=version), 505)


def test_the_preface_of_http2_is_refused(raw):
    connection = raw()
    connection.send_leniently(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    check_problem(connection.response(), (400, 505))
    connection.expect_end()


# --- Limits


@pytest.mark.parametrize("size", [70_000, 300_000])
def test_a_target_that_is_too_long_is_refused(raw, size):
    refused(raw(), request_bytes("GET", "/" + "a" * size), 414)


@pytest.mark.parametrize("headers", [
    [("X-Long", "a" * 100_000)], [("X" * 100_000, "a")], [(f"X-{number}", "a" * 50) for number in range(2_000)],
    [(f"X{number}", "") for number in range(12_000)],
], ids=["a long value", "a long name", "many fields", "very many empty fields"])
def test_header_fields_that_are_too_large_are_refused(raw, headers):
    refused(raw(), request_bytes("GET", "/health", headers), 431)


def test_a_head_without_end_is_refused_at_a_bound(raw):
    connection = raw()
    connection.send_leniently(b"GET /health HTTP/1.1\r\nHost: a\r\n")
    for number in range(3_000):
        connection.send_leniently(b"X-Endless: " + b"a" * 100 + b"\r\n")
    check_problem(connection.response(), 431)
    connection.expect_end()


def test_a_request_line_without_end_is_refused_at_a_bound(raw):
    connection = raw()
    for number in range(300):
        connection.send_leniently(b"A" * 1000)
    check_problem(connection.response(), (400, 414, 501))
    connection.expect_end()


def test_ordinary_sizes_are_within_the_limits(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/health?" + "q" * 2_000, [(f"X-{n}", "v" * 60) for n in range(40)]))
    assert connection.response().status == 200


# --- X-Request-ID


@pytest.mark.parametrize("request_id", ["a", "abc-123_X.y", "2c2f2520-3674-41c2-94f2-7965fb4f72e5", "A" * 64, "0190b1d2-0000-7000-8000-0"])
def test_a_good_request_id_is_echoed(alice, request_id):
    for path in ("/health", "/api/v2/chat/conversations", "/no/such/route"):
        assert alice.get(path, headers={"X-Request-ID": request_id}).header("X-Request-ID") == request_id


@pytest.mark.parametrize("request_id", [
    "a" * 1_000, "", "two words", "a\"b", "<script>alert(1)</script>", "a\\b", "a\tb", "é", "日本", "a{b}",
], ids=["too long", "empty", "space", "quote", "markup", "backslash", "tab", "latin", "wide", "braces"])
def test_a_bad_request_id_is_replaced(raw, request_id):
    connection = raw()
    connection.send(request_bytes("GET", "/no/such/route", {"X-Request-ID": request_id}))
    response = connection.response()
    made = response.header("X-Request-ID")
    assert made and made != request_id and REQUEST_ID_PATTERN.match(made)
    assert check_problem(response, 404)["request_id"] == made


def test_request_ids_that_are_made_differ(alice):
    made = {alice.get("/health").header("X-Request-ID") for _ in range(50)}
    assert len(made) == 50


def test_two_request_ids_never_both_come_back(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/health", [("X-Request-ID", "first"), ("X-Request-ID", "second")]))
    assert len(connection.response().header_values("X-Request-ID")) == 1


# --- Slow clients


@pytest.mark.slow
def test_half_requests_that_go_idle_are_answered_408_or_closed(service):
    halves = {"half a request line": b"GET /heal", "half a head": b"GET /health HTTP/1.1\r\nHost: a\r\nX-A: ",
              "half a body": b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345",
              "half a chunk": b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc"}
    opened = {}
    for name, data in halves.items():
        opened[name] = service.raw(timeout=40)
        opened[name].send(data)
    deadline = time.monotonic() + 40
    for name, connection in opened.items():
        connection.socket.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            check_problem(connection.response(), 408)
        except ConnectionEnded as ended:
            assert not connection.buffer, (name, ended)
        connection.close()


@pytest.mark.slow
def test_a_head_that_drips_is_cut_off_although_it_is_never_idle(service):
    connection = service.raw(timeout=0.5)
    connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n")

    def cut_off():
        connection.send_leniently(b"X-Drip: 1\r\n")
        try:
            return not connection._receive() or b" 408 " in connection.buffer
        except AssertionError:
            return False  # Nothing to read yet.

    eventually(cut_off, 60, "the end of a dripping head")
    connection.close()


def test_many_half_requests_do_not_keep_others_waiting(service, raw):
    halves = [service.raw() for _ in range(200)]
    for half in halves:
        half.send(b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
    bystander = raw(timeout=5)
    bystander.send(HEALTH)
    assert bystander.response().status == 200
    for half in halves:
        half.send(b"4567890")
        assert half.response().json == {"bytes": 10}
        half.close()


# --- The upgrade, as far as it is HTTP

GOOD_UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def test_the_handshake_of_the_standard_is_accepted(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/bench/echo", GOOD_UPGRADE))
    response = connection.response()
    assert response.status == 101
    assert response.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert response.header("Sec-WebSocket-Extensions") is None, "nothing was offered"
    assert response.header("Sec-WebSocket-Protocol") is None, "nothing was offered"


@pytest.mark.parametrize("change", [
    {"Upgrade": "WebSocket"}, {"Connection": "keep-alive, Upgrade"}, {"Connection": "upgrade"},
])
def test_spellings_that_browsers_use_are_accepted(raw, change):
    connection = raw()
    connection.send(request_bytes("GET", "/bench/echo", {**GOOD_UPGRADE, **change}))
    assert connection.response().status == 101


@pytest.mark.parametrize("path", ["/bench/echo", "/api/v2/chat/ws"])
@pytest.mark.parametrize("change", [
    {"Upgrade": None}, {"Upgrade": "h2c"}, {"Connection": None}, {"Connection": "keep-alive"},
    {"Sec-WebSocket-Key": None}, {"Sec-WebSocket-Key": ""}, {"Sec-WebSocket-Key": "short"},
    {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ"}, {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZSE9"},
    {"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="},
    {"Sec-WebSocket-Version": None}, {"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Version": "14"},
    {"Sec-WebSocket-Version": "13, 8"},
], ids=str)
def test_a_bad_handshake_is_refused(raw, alice, path, change):
    fields = {name: value for name, value in {**GOOD_UPGRADE, **alice.authorization(), **change}.items()
              if value is not None}
    connection = raw()
    connection.send(request_bytes("GET", path, fields))
    response = connection.response()
    check_problem(response, (400, 426))
    if change.get("Sec-WebSocket-Version") in ("8", "14"):
        assert response.header("Sec-WebSocket-Version") == "13", "RFC 6455 4.4: say which version is spoken"


def test_an_upgrade_by_version_1_0_is_refused(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/bench/echo", GOOD_UPGRADE, version="HTTP/1.0"))
    assert connection.response().status in (400, 426)


def test_an_ordinary_route_ignores_the_upgrade(raw):
    connection = raw()
    connection.send(request_bytes("GET", "/health", GOOD_UPGRADE))
    response = connection.response()
    assert response.status == 200 and response.json["status"] == "pass"


def test_every_refusal_is_a_problem_document_even_for_a_browser(alice):
    response = alice.get("/no/such/route", headers={"Accept": "text/html"})
    assert response.media_type == PROBLEM
