"""Server-Sent Events of a conversation (contract section 3): what is replayed, what is live, and how a stream ends."""

import json
import socket
import threading
import time

import pytest

import described
from conftest import ConnectionEnded, apart_from_status, check_problem, eventually, make_token, request_bytes, unique


class EventStream:
    """A reader of Server-Sent Events, strict about chunks and about the format's lines."""

    def __init__(self, service, client, conversation_id, method="GET", query="", version="HTTP/1.1", headers=(),
                 before=b"", behind=b"", **options):
        self.connection, self.method, self.path = service.raw(**options), method, f"/api/v2/chat/conversations/{conversation_id}/events"
        fields = {**client.authorization(), **dict(headers)}
        target = f"/api/v2/chat/conversations/{conversation_id}/events" + (f"?{query}" if query else "")
        self.connection.send(before + request_bytes(method, target, fields, host=service.authority, version=version) + behind)
        self.events, self.comments, self.retries = [], [], []
        self.text, self.ended_orderly, self.head = b"", False, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def open(self, status=200):
        lines = self.connection._until(b"\r\n\r\n").decode("ascii").split("\r\n")
        self.head = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
        self.is_chunked = self.head.get("transfer-encoding") == "chunked"
        assert int(lines[0].split()[1]) == status, lines
        described.saw(self.method, self.path, status)
        return self

    def _more(self):
        """One more chunk, or what has come; False at the end."""
        if self.ended_orderly:
            return False
        if not self.is_chunked:
            if not self.connection.buffer and not self.connection._receive():
                return False
            data, self.connection.buffer = self.connection.buffer, b""
        else:
            size = int(self.connection._until(b"\r\n"), 16)
            data = self.connection._exactly(size)
            assert self.connection._exactly(2) == b"\r\n"
            if size == 0:
                self.ended_orderly = True
                return False
            assert data.endswith(b"\n\n"), "an event is one chunk"
        self.text += data
        while b"\n\n" in self.text:
            block, self.text = self.text.split(b"\n\n", 1)
            self._take(block.decode("utf-8"))
        return True

    def _take(self, block):
        event = {"data": []}
        for line in block.split("\n"):
            name, _, value = line.partition(": ")
            assert name in ("", "event", "id", "data", "retry"), f"not a line of an event: {line!r}"
            if name == "":
                self.comments.append(value)
            elif name == "retry":
                self.retries.append(int(value))
            elif name == "data":
                event["data"].append(value)
            else:
                event[name] = value
        if event["data"]:
            event["json"] = json.loads("\n".join(event["data"]))
            assert event["json"]["type"] == event["event"]
            if event["event"] == "message":
                assert int(event["id"]) == event["json"]["message"]["seq"], "the id is the entry's seq"
            else:
                assert "id" not in event, "only entries have an id"
            self.events.append(event)

    def wait(self, probe, seconds=10):
        self.connection.socket.settimeout(seconds)
        while not probe():
            assert self._more(), f"the stream ended after {len(self.events)} events: {self.comments}"
        return self

    def entries(self, count=None):
        def found():
            return [event["json"]["message"] for event in self.events if event["event"] == "message"]
        if count is not None:
            self.wait(lambda: len(found()) >= count)
        return found()

    def to_end(self, seconds=10):
        self.connection.socket.settimeout(seconds)
        while self._more():
            pass
        return self


def start(client, count=1):
    """A conversation with `count` messages and their replies; returns its id."""
    answer = client.say("one")
    for number in range(1, count):
        client.say(f"more {number}")
    return answer["conversation_id"]


def test_the_log_is_replayed_and_what_comes_is_live(service, alice):
    conversation = start(alice, 2)
    with EventStream(service, alice, conversation) as stream:
        stream.open()
        assert stream.head["content-type"] == "text/event-stream"
        assert stream.head["cache-control"] == "no-store"
        assert stream.head["x-accel-buffering"] == "no"
        assert stream.head["connection"] == "close"
        assert stream.is_chunked and "content-length" not in stream.head
        assert "ratelimit" in stream.head and stream.head["x-request-id"]
        stream.entries(4)
        for number in range(5):
            alice.twin().say(f"live {number}")
        assert apart_from_status(stream.entries(14)) == apart_from_status(alice.log(conversation))
        assert len(stream.retries) == 1 and 1000 <= stream.retries[0] <= 10_000


@pytest.mark.parametrize("how", ["header", "query", "both"])
def test_a_reader_resumes_behind_the_last_event_that_it_has(service, alice, how):
    conversation = start(alice, 4)
    headers = {"Last-Event-ID": "5"} if how != "query" else {}
    query = {"header": "", "query": "after_seq=5", "both": "after_seq=1"}[how]
    with EventStream(service, alice, conversation, headers=headers, query=query) as stream:
        stream.open()
        alice.say("live")
        assert [entry["seq"] for entry in stream.entries(5)] == [6, 7, 8, 9, 10]


def test_an_empty_last_event_id_is_none(service, alice):
    conversation = start(alice)
    with EventStream(service, alice, conversation, headers={"Last-Event-ID": ""}, query="after_seq=1") as stream:
        assert [entry["seq"] for entry in stream.open().entries(1)] == [2]


def test_the_frames_are_those_of_the_socket(service, alice, agent):
    conversation = start(alice)
    with (service.chat(agent) as helper, service.chat(alice, by_header=True) as chat,
          EventStream(service, alice, conversation, query="after_seq=2") as stream):
        chat.subscribe(conversation, after_seq=2)
        stream.open()
        alice.say("tell me more")
        chat.expect("run", state="ended")
        stream.wait(lambda: any(event["json"].get("state") == "ended" for event in stream.events))
        shown = [frame for frame in chat.frames if frame["type"] in ("message", "run")]
        assert [event["json"] for event in stream.events if event["event"] != "receipt"] == shown
        helper.send(type="typing", conversation_id=conversation, state="start")
        stream.wait(lambda: any(event["event"] == "typing" for event in stream.events))


def test_a_reader_on_every_core_sees_the_whole_log(service, alice):
    conversation = start(alice)
    streams = [EventStream(service, alice, conversation).open() for _ in range(12)]
    for number in range(10):
        alice.say(f"live {number}")
    for stream in streams:
        assert [entry["seq"] for entry in stream.entries(22)] == list(range(1, 23))
        stream.connection.close()


def test_messages_that_come_while_a_log_is_replayed_are_in_their_place(service, alice):
    conversation = start(alice, 60)
    writer = threading.Thread(target=lambda: [alice.say(f"meanwhile {number}") for number in range(40)])
    writer.start()
    streams = []
    while writer.is_alive() and len(streams) < 40:
        streams.append(EventStream(service, alice.twin(), conversation, query="after_seq=7").open())
    writer.join()
    for stream in streams:
        assert [entry["seq"] for entry in stream.entries(193)] == list(range(8, 201))
        stream.connection.close()


def test_what_is_too_far_back_is_a_gap(launch):
    service = launch(DEFAULT_RATE_LIMIT=10_000_000)
    client = service.client()
    conversation = start(client)
    with service.chat(client, by_header=True) as chat:
        for number in range(520):
            chat.send(type="message", id=unique("c"), conversation_id=conversation,
                      content={"type": "text", "text": f"m{number}"})
        eventually(lambda: client.conversation(conversation)["conversation"]["last_seq"] >= 1042, 20)
    with EventStream(service, client, conversation) as stream:
        stream.open().wait(lambda: len(stream.events) > 0)
        gap = stream.events[0]
        assert gap["event"] == "gap" and gap["json"] == {
            "type": "gap", "conversation_id": conversation, "from": 1, "to": 42}
        assert [entry["seq"] for entry in stream.entries(1000)] == list(range(43, 1043))


def test_http_1_0_gets_a_body_that_ends_with_the_connection(service, alice):
    conversation = start(alice)
    with EventStream(service, alice, conversation, version="HTTP/1.0") as stream:
        stream.open()
        assert not stream.is_chunked and "content-length" not in stream.head
        alice.say("live")
        assert [entry["seq"] for entry in stream.entries(4)] == [1, 2, 3, 4]


def test_head_answers_with_the_headers_alone(service, alice):
    conversation = start(alice)
    with EventStream(service, alice, conversation, method="HEAD") as stream:
        stream.open()
        assert stream.head["content-type"] == "text/event-stream" and stream.head["connection"] == "close"
        stream.is_chunked = False
        stream.to_end()
        assert stream.text == b"" and not stream.events and not stream.retries
    assert alice.request("HEAD", "/api/v2/chat/conversations/conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab/events").status == 404


# --- Who may


def path_of(conversation):
    return f"/api/v2/chat/conversations/{conversation}/events"


def test_a_stranger_gets_404_and_an_agent_the_stream(service, alice, bob, agent):
    conversation = start(alice)
    check_problem(bob.get(path_of(conversation)), 404, "not_found")
    with EventStream(service, agent, conversation) as stream:
        assert len(stream.open().entries(2)) == 2


@pytest.mark.parametrize("id", ["conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "x", "sess_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"])
def test_what_is_not_there_is_404_and_the_connection_goes_on(service, alice, id):
    alice.get("/health")
    connection = alice.connection
    response = alice.get(path_of(id))
    check_problem(response, 404, "not_found")
    assert alice.get("/health").status == 200 and alice.connection is connection


def test_without_a_credential_or_permission_there_is_no_stream(service, alice):
    conversation = start(alice)
    check_problem(service.anonymous().get(path_of(conversation)), 401, "unauthenticated")
    check_problem(service.client(role="ops").get(path_of(conversation)), 403, "forbidden")
    check_problem(alice.post(path_of(conversation)), 405, "method_not_allowed")


@pytest.mark.parametrize("header,query", [("x", {}), ("-1", {}), ("1.5", {}), ("99999999999999999999", {}), (None, {"after_seq": "x"}),
                                          ("3", {}), (None, {"after_seq": "3"}), ("0x1", {}), ("1 ", {"after_seq": "x"})])
def test_a_place_that_is_none_is_422(service, alice, header, query):
    conversation = start(alice)
    check_problem(alice.get(path_of(conversation), headers={"Last-Event-ID": header}, query=query), 422, "validation_failed")
    assert alice.get("/health").status == 200


# --- The connection


def test_what_was_asked_before_a_stream_is_answered_first(service, alice):
    conversation = start(alice)
    before = b"".join(
        request_bytes("GET", f"/api/v2/chat/conversations/{conversation}", alice.authorization(), host=service.authority)
        for _ in range(5))
    behind = request_bytes("GET", "/health", host=service.authority)
    with EventStream(service, alice, conversation, before=before, behind=behind) as stream:
        for _ in range(5):
            assert len(stream.connection.response().json["data"]) == 2
        stream.open()
        assert len(stream.entries(2)) == 2
        alice.say("live")
        stream.entries(4)
        assert all(event["event"] in ("message", "run", "receipt") for event in stream.events), "nothing behind a stream is answered"


def test_what_is_behind_a_refused_stream_is_answered(service, alice):
    behind = request_bytes("GET", "/health", host=service.authority) * 3
    with EventStream(service, alice, "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", behind=behind) as stream:
        assert stream.connection.response().status == 404
        assert [stream.connection.response().status for _ in range(3)] == [200, 200, 200]


def test_a_request_in_pieces_gets_its_stream(service, alice):
    conversation = start(alice)
    with EventStream(service, alice, conversation) as stream:
        assert len(stream.open().entries(2)) == 2
    connection = service.raw()
    for byte in request_bytes("GET", path_of(conversation), alice.authorization(), host=service.authority):
        connection.send(bytes([byte]))
    assert b"200 OK" in connection._until(b"\r\n\r\n")
    connection.close()


def gauge(service, name):
    return int(next(line for line in service.metrics().splitlines() if line.startswith(name + " ")).split()[1])


def test_a_reader_that_goes_is_forgotten(launch):
    service = launch()
    client = service.client()
    conversation = start(client)
    streams = [EventStream(service, client, conversation).open() for _ in range(8)]
    assert gauge(service, "chat_sse_connections") == 8
    for index, stream in enumerate(streams):
        if index % 2:
            stream.connection.reset()
        else:
            stream.connection.close()
    eventually(lambda: gauge(service, "chat_sse_connections") == 0)
    half_closed = EventStream(service, client, conversation).open()
    half_closed.connection.socket.shutdown(socket.SHUT_WR)
    eventually(lambda: gauge(service, "chat_sse_connections") == 0)
    client.say("nobody listens")
    assert gauge(service, "chat_ws_connections") == 0


def test_a_stream_ends_when_its_token_expires(service, alice):
    conversation = start(alice)
    short = service.client(user=alice.user, token=make_token(alice.user, ttl=3))
    with EventStream(service, short, conversation) as stream:
        began = time.monotonic()
        stream.open().to_end()
        assert stream.ended_orderly and 1 < time.monotonic() - began < 6
        assert "the token has expired" in stream.comments
    check_problem(short.get(path_of(conversation)), 401, "unauthenticated")


def test_a_stream_ends_with_the_service_and_says_when_to_come_back(launch):
    service = launch()
    client = service.client()
    conversation = start(client)
    streams = [EventStream(service, client, conversation).open() for _ in range(6)]
    for stream in streams:
        stream.entries(2)
    stopper = threading.Thread(target=service.stop)
    stopper.start()
    for stream in streams:
        stream.to_end()
        assert stream.ended_orderly and len(stream.retries) == 2
    stopper.join()
    assert len({stream.retries[1] for stream in streams}) > 1, "they do not come back at the same moment"
    assert service.process.returncode == 0


@pytest.mark.slow
def test_a_quiet_stream_has_a_heartbeat(service, alice):
    conversation = start(alice)
    with EventStream(service, alice, conversation) as stream:
        stream.open().wait(lambda: "heartbeat" in stream.comments, seconds=20)


def test_a_reader_that_does_not_read_is_ended_and_can_resume(launch):
    service = launch()
    client = service.client()
    conversation = start(client)
    slow = EventStream(service, client, conversation, receive_buffer_bytes=4096).open()
    with EventStream(service, client.twin(), conversation) as quick, service.chat(client, by_header=True) as chat:
        quick.open()
        for batch in range(1, 31):
            for number in range(20):
                chat.send(type="message", id=unique("c"), conversation_id=conversation,
                          content={"type": "text", "text": f"{number} " + "x" * 9000})
            # What the others get does not depend on the slow one; they read as fast as it comes.
            assert quick.entries(2 + 40 * batch)[-1]["seq"] >= 2 + 40 * batch
            chat.settle()
    eventually(lambda: gauge(service, "chat_slow_consumers_total") >= 1)
    slow.connection.socket.settimeout(10)
    try:
        slow.to_end()
    except (ConnectionEnded, ValueError):
        pass
    seen = [entry["seq"] for entry in slow.entries()]
    assert seen == list(range(1, len(seen) + 1)) and len(seen) < 1202
    with EventStream(service, client, conversation, headers={"Last-Event-ID": str(len(seen))}) as again:
        left = 1202 - len(seen)
        again.open().wait(lambda: again.events)
        if again.events[0]["event"] == "gap":
            left -= again.events[0]["json"]["to"] - again.events[0]["json"]["from"] + 1
        assert [entry["seq"] for entry in again.entries(left)] == list(range(1203 - left, 1203))
