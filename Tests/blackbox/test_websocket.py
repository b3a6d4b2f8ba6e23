"""Contract section 4, RFC 6455 and RFC 7692: the chat socket, the frames under it, and those who misbehave."""

import json
import os
import random
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect as open_socket

from conftest import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, ID_PATTERNS, ChatSocket, RawWebSocket, check_message,
                      check_problem_object, eventually, frame_bytes, make_token, texts, unique)

UNKNOWN_CONVERSATION = "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"


@pytest.fixture
def chat(service):
    """Chat sockets that are closed at the end."""
    opened = []

    def connect(client, **options):
        opened.append(ChatSocket(service, client, **options))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


@pytest.fixture
def echo(service):
    """Raw WebSockets, on /bench/echo unless told otherwise."""
    opened = []

    def connect(path="/bench/echo", **options):
        opened.append(RawWebSocket(service, path, **options))
        assert opened[-1].handshake.status == 101, opened[-1].handshake
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def raw_chat(echo, client):
    """A chat connection at the level of frames, connected."""
    raw = echo("/api/v2/chat/ws")
    raw.send_json(type="connect", token=client.token)
    assert raw.json()["type"] == "connected"
    return raw


# --- Connect


def test_a_first_frame_with_a_token_connects(alice, chat):
    connected = chat(alice, device_id="phone").connected
    assert ID_PATTERNS["sess"].match(connected["session_id"])
    assert (connected["user_id"], connected["tenant_id"]) == (alice.user, "demo")
    assert isinstance(connected["heartbeat_ms"], int) and connected["heartbeat_ms"] > 0
    assert isinstance(connected["limits"], dict)


def test_a_header_with_a_token_connects(alice, chat):
    assert chat(alice, by_header=True).connected["user_id"] == alice.user


def test_the_subprotocol_is_agreed_on(alice, chat):
    assert chat(alice, subprotocol="chat.v2+json").socket.subprotocol == "chat.v2+json"
    assert chat(alice).socket.subprotocol is None


def test_of_several_subprotocols_ours_is_chosen(echo):
    raw = echo("/api/v2/chat/ws", headers={"Sec-WebSocket-Protocol": "mqtt, chat.v2+json, chat.v1"})
    assert raw.handshake.header("Sec-WebSocket-Protocol") == "chat.v2+json"


def test_an_unknown_subprotocol_is_never_claimed(service):
    raw = RawWebSocket(service, "/api/v2/chat/ws", headers={"Sec-WebSocket-Protocol": "mqtt"})
    assert raw.handshake.header("Sec-WebSocket-Protocol") is None
    raw.close()


BAD_CONNECTS = {
    "a word": lambda: {"token": "nonsense"}, "no token": lambda: {}, "null": lambda: {"token": None},
    "a number": lambda: {"token": 5}, "an empty token": lambda: {"token": ""},
    "an expired token": lambda: {"token": make_token("x", ttl=-3600)},
    "a token of another key": lambda: {"token": make_token("x", secret="y" * 64)},
    "a token that is not valid yet": lambda: {"token": make_token("x", nbf=int(time.time()) + 3600)},
    "a token without exp": lambda: {"token": make_token("x", without=["exp"])},
    "a token without a signature": lambda: {"token": make_token("x").rsplit(".", 1)[0] + "."},
    "alg none": lambda: {"token": "eyJhbGciOiJub25lIn0." + make_token("x").split(".")[1] + "."},
}


@pytest.mark.parametrize("name", BAD_CONNECTS)
def test_a_bad_token_in_the_first_frame_closes_with_4401(service, alice, name):
    with service.chat(alice, connect=False) as chat:
        chat.send(type="connect", **BAD_CONNECTS[name]())
        chat.expect_close(4401)
        assert not chat.seen("connected")


@pytest.mark.parametrize("frame", [
    {"type": "subscribe", "id": "1", "conversation_id": UNKNOWN_CONVERSATION, "after_seq": 0},
    {"type": "message", "id": "1", "content": {"type": "text", "text": "Hello"}}, {"type": "typing", "state": "start"},
    {"type": "cancel", "run_id": "run_x"},
], ids=lambda frame: frame["type"])
def test_nothing_happens_before_connect(service, alice, frame):
    with service.chat(alice, connect=False) as chat:
        chat.send(**frame)
        chat.expect_close(4401)
        assert not chat.seen("ack") and not chat.seen("subscribed")


@pytest.mark.parametrize("token", ["nonsense", make_token("x", ttl=-3600), make_token("x", secret="y" * 64)])
def test_a_bad_token_in_the_header_is_refused(service, token):
    try:
        with open_socket(service.websocket_url(), additional_headers={"Authorization": f"Bearer {token}"},
                         proxy=None) as connection:
            with pytest.raises(ConnectionClosed) as closed:
                connection.recv(timeout=10)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401, closed.value
    except InvalidStatus as refused:
        assert refused.response.status_code == 401


@pytest.mark.slow
def test_a_socket_that_stays_silent_is_closed_with_4401(echo):
    raw, talker = echo("/api/v2/chat/ws", timeout=20), echo("/api/v2/chat/ws", timeout=20)
    began = time.monotonic()
    talker.send_frame(PING, b"I am here")  # A ping is no credential.
    raw.expect_close(4401, seconds=20)
    assert 8 <= time.monotonic() - began <= 16, "10 seconds are granted"
    talker.expect_close(4401, seconds=10)


# --- Message, acknowledgement, reply


def test_a_message_is_acknowledged_then_shown_then_answered(alice, chat):
    one = chat(alice)
    ack = one.say("The sky is blue", id=f"c-1-{alice.user}")
    assert ack["duplicate"] is False and ack["seq"] == 1
    assert ID_PATTERNS["msg"].match(ack["message_id"]) and ID_PATTERNS["conv"].match(ack["conversation_id"])
    own = check_message(one.expect_message(direction="inbound"))
    assert (own["id"], own["seq"], own["client_message_id"]) == (ack["message_id"], 1, f"c-1-{alice.user}")
    reply = check_message(one.expect_message(direction="outbound"))
    assert reply["content"] == {**reply["content"], "type": "text", "text": "You said: The sky is blue"}
    kinds = [(frame["type"], frame.get("state")) for frame in one.frames if frame["type"] in ("ack", "message", "run")]
    assert kinds.index(("ack", None)) < kinds.index(("message", None)), "the acknowledgement comes first"
    one.settle()
    entries = one.entries(ack["conversation_id"])
    assert [entry["id"] for entry in entries].count(own["id"]) == 1 and [entry["id"] for entry in entries].count(reply["id"]) == 1
    assert alice.log(ack["conversation_id"]) == sorted(entries, key=lambda entry: entry["seq"]), "frames show the log"


def test_a_run_streams_and_its_text_is_the_durable_reply(alice, chat):
    one = chat(alice)
    said = " ".join(f"word{number}" for number in range(60))
    conversation_id = one.say(said)["conversation_id"]
    started = one.expect("run", state="started")
    assert ID_PATTERNS["run"].match(started["run_id"]) and started["conversation_id"] == conversation_id
    ended = one.expect("run", state="ended", timeout=20)
    reply = one.expect_message(direction="outbound", timeout=20)
    runs = one.seen("run", run_id=started["run_id"])
    assert [frame["state"] for frame in runs] == ["started"] + ["delta"] * (len(runs) - 2) + ["ended"]
    deltas = runs[1:-1]
    assert len(deltas) >= 2, "an answer of sixty words is streamed"
    assert "".join(frame["text"] for frame in deltas) == reply["content"]["text"] == f"You said: {said}"
    indexes = [frame["index"] for frame in deltas]
    assert indexes == list(range(indexes[0], indexes[0] + len(deltas))) and indexes[0] in (0, 1)
    assert isinstance(ended["reason"], str) and ended["reason"] not in ("", "expired", "cancelled")
    assert next(index for index, frame in enumerate(one.frames) if frame["type"] == "message"
                and frame["message"]["id"] == reply["id"]) < one.frames.index(ended), "ended: the durable reply is there"


def test_each_message_has_one_run_and_one_reply_in_order(alice, chat):
    one = chat(alice)
    for number in range(10):
        one.send(type="message", id=f"c-{number}-{alice.user}", content={"type": "text", "text": f"number {number}"})
    acks = [one.expect("ack", id=f"c-{number}-{alice.user}") for number in range(10)]
    assert len({ack["conversation_id"] for ack in acks}) == 1
    assert [ack["seq"] for ack in acks] == sorted(ack["seq"] for ack in acks)
    for number in range(10):
        one.expect_message(direction="outbound", text=f"You said: number {number}", timeout=30)
    one.settle()
    assert len(one.seen("run", state="started")) == len(one.seen("run", state="ended")) == 10
    entries = one.entries(acks[0]["conversation_id"])
    assert texts(entries, "inbound") == [f"number {number}" for number in range(10)]
    assert texts(entries, "outbound") == [f"You said: number {number}" for number in range(10)]
    alice.log(acks[0]["conversation_id"])


def test_entries_arrive_in_the_order_of_seq(alice, chat):
    one = chat(alice)
    conversation_id = one.say("first")["conversation_id"]
    for number in range(20):
        one.say(f"n{number}")
    one.expect_message(direction="outbound", text="You said: n19", timeout=30)
    one.settle()
    seqs = [entry["seq"] for entry in one.entries(conversation_id)]
    assert seqs == list(range(1, len(seqs) + 1))


def test_a_message_may_name_its_channel_and_conversation(alice, chat):
    one = chat(alice)
    http = one.say("on http", channel="http")
    assert one.say("on web", channel="web")["conversation_id"] != http["conversation_id"]
    assert one.say("again", conversation_id=http["conversation_id"])["conversation_id"] == http["conversation_id"]
    assert alice.conversation(http["conversation_id"])["conversation"]["channel"] == "http"


def test_a_duplicate_is_acknowledged_as_such_and_stored_once(alice, chat):
    one = chat(alice)
    first = one.say("Once", id=f"c-1-{alice.user}")
    one.expect_message(direction="outbound")
    again = one.say("Once", id=f"c-1-{alice.user}")
    assert again["duplicate"] is True
    assert (again["message_id"], again["seq"], again["conversation_id"]) == (
        first["message_id"], first["seq"], first["conversation_id"])
    one.settle()
    assert len(one.seen("run", state="started")) == 1, "a duplicate is not answered twice"
    assert len(alice.messages(first["conversation_id"])) == 2


def test_a_duplicate_from_another_socket_is_known(alice, chat):
    first = chat(alice).say("Once", id=f"c-1-{alice.user}")
    again = chat(alice).say("Once", id=f"c-1-{alice.user}")
    assert again["duplicate"] is True and again["message_id"] == first["message_id"]


def test_a_message_that_was_sent_over_http_is_known_on_the_socket(alice, chat):
    first = alice.say("Once", client_message_id=f"c-http-{alice.user}")
    again = chat(alice).say("Once", id=f"c-http-{alice.user}", conversation_id=first["conversation_id"], channel="web")
    assert again["duplicate"] is True
    assert (again["message_id"], again["seq"]) == (first["message"]["id"], first["message"]["seq"])


def test_another_content_under_the_same_id_is_an_error(alice, chat):
    one = chat(alice)
    one.say("Once", id=f"c-1-{alice.user}")
    one.send(type="message", id=f"c-1-{alice.user}", content={"type": "text", "text": "Twice"})
    problem = one.expect("error", id=f"c-1-{alice.user}")["problem"]
    assert problem["code"] == "idempotency_mismatch"
    one.settle()


def test_help_on_the_socket_brings_quick_replies_that_can_be_pressed(alice, chat):
    one = chat(alice)
    one.say("help")
    content = one.expect_message(direction="outbound")["content"]
    assert content["type"] == "quick_replies"
    chosen = content["replies"][0]
    one.send(type="message", id=f"c-press-{alice.user}", content={"type": "reply", "id": chosen["id"], "title": chosen["title"]})
    one.expect("ack", id=f"c-press-{alice.user}")
    one.settle()


# --- Cancel

LONG = " ".join(f"word{number}" for number in range(1_000))


def test_a_run_can_be_cancelled(alice, chat):
    one = chat(alice)
    conversation_id = one.say(LONG)["conversation_id"]
    run_id = one.expect("run", state="started")["run_id"]
    one.send(type="cancel", run_id=run_id)
    ended = one.expect("run", run_id=run_id, state="ended", timeout=20)
    assert ended["reason"] == "cancelled"
    ack = one.say("Still there?")
    one.expect_message(direction="outbound", text="You said: Still there?", timeout=20)
    assert ack["conversation_id"] == conversation_id
    outbound = texts(alice.messages(conversation_id), "outbound")
    assert f"You said: {LONG}" not in outbound, "a cancelled run leaves no whole answer"
    frames = one.seen("run", run_id=run_id)
    assert [frame["state"] for frame in frames].count("ended") == 1 and frames[-1]["state"] == "ended"


def test_another_device_can_cancel(alice, chat):
    phone, desktop = chat(alice, device_id="phone"), chat(alice, device_id="desktop")
    phone.say(LONG)
    run_id = phone.expect("run", state="started")["run_id"]
    desktop.send(type="cancel", run_id=run_id)
    assert phone.expect("run", run_id=run_id, state="ended", timeout=20)["reason"] == "cancelled"


def test_a_stranger_cannot_cancel(alice, bob, chat):
    mine, strangers = chat(alice), chat(bob)
    mine.say(LONG)
    run_id = mine.expect("run", state="started")["run_id"]
    strangers.send(type="cancel", run_id=run_id)
    assert strangers.expect("error")["problem"]["code"] in ("not_found", "forbidden")
    assert mine.expect("run", run_id=run_id, state="ended", timeout=90)["reason"] != "cancelled"


@pytest.mark.parametrize("run_id", ["run_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "nonsense", "", None, 5])
def test_a_run_that_does_not_exist_cannot_be_cancelled(alice, chat, run_id):
    one = chat(alice)
    one.send(type="cancel", run_id=run_id)
    assert one.expect("error")["problem"]["code"] in ("not_found", "validation_failed")
    one.settle()


# --- Subscribe


def test_a_subscription_replays_what_was_missed_then_goes_on_live(alice, chat):
    conversation_id = alice.handed_to_human()
    for number in range(30):
        alice.say(f"n{number}", conversation_id=conversation_id)
    head = alice.log(conversation_id)[-1]["seq"]
    one = chat(alice)
    subscribed = one.subscribe(conversation_id, after_seq=12)
    assert (subscribed["conversation_id"], subscribed["last_seq"]) == (conversation_id, head)
    assert [entry["seq"] for entry in one.entries(conversation_id)] == list(range(13, head + 1))
    assert one.frames[-1] is subscribed, "the replay comes before `subscribed`"
    alice.say("live", conversation_id=conversation_id)
    assert one.expect_message(text="live")["seq"] == head + 1
    assert one.entries(conversation_id) == [entry for entry in alice.log(conversation_id) if entry["seq"] > 12]


@pytest.mark.parametrize("beyond", [0, 5])
def test_at_the_head_nothing_is_replayed(alice, chat, beyond):
    conversation_id = alice.say("Hello")["conversation_id"]
    head = alice.log(conversation_id)[-1]["seq"]
    one = chat(alice)
    one.send(type="subscribe", id="s", conversation_id=conversation_id, after_seq=head + beyond)
    frame = one.expect(id="s")
    assert one.entries(conversation_id) == []
    if beyond == 0:
        assert frame["type"] == "subscribed" and frame["last_seq"] == head
    else:
        assert frame["type"] in ("subscribed", "error")


def test_without_after_seq_a_subscription_begins_somewhere_complete(alice, chat):
    conversation_id = alice.say("Hello")["conversation_id"]
    one = chat(alice)
    one.send(type="subscribe", id="s", conversation_id=conversation_id)
    head = one.expect("subscribed", id="s")["last_seq"]
    seqs = [entry["seq"] for entry in one.entries(conversation_id)]
    assert seqs in ([], list(range(1, head + 1)))


def test_subscribing_twice_shows_live_entries_once(alice, chat):
    conversation_id = alice.handed_to_human()
    one = chat(alice)
    head = one.subscribe(conversation_id)["last_seq"]
    one.subscribe(conversation_id, after_seq=head)
    alice.say("live", conversation_id=conversation_id)
    one.expect_message(text="live")
    one.settle()
    assert texts(one.entries(conversation_id)).count("live") == 1


def test_who_unsubscribes_hears_no_more(alice, agent, chat):
    conversation_id = alice.handed_to_human()
    watching, leaving = chat(agent), chat(agent.service.client(role="agent"))
    watching.subscribe(conversation_id)
    leaving.subscribe(conversation_id)
    leaving.send(type="unsubscribe", id="u", conversation_id=conversation_id)
    assert leaving.expect("unsubscribed", id="u")["conversation_id"] == conversation_id
    alice.say("after", conversation_id=conversation_id)
    watching.expect_message(text="after")
    leaving.settle()
    assert "after" not in texts(leaving.entries(conversation_id))


def test_who_is_far_behind_is_told_the_gap_and_paging_fills_it(service, chat):
    client, count = service.client(), 2_600
    conversation_id = client.handed_to_human()

    def send(share):
        one = client.twin()
        connection = service.raw(timeout=60)
        from conftest import request_bytes
        fields = {**one.authorization(), "Content-Type": "application/json", "Prefer": "respond-async"}
        for start in range(0, len(share), 50):
            batch = share[start:start + 50]
            connection.send(b"".join(request_bytes("POST", "/api/v2/chat/message", fields, json.dumps(
                one.message_body(f"n{number}", conversation_id=conversation_id)).encode()) for number in batch))
            for _ in batch:
                assert connection.response().status == 202
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, [range(part, count, 4) for part in range(4)]))
    one = chat(client)
    head = one.subscribe(conversation_id)["last_seq"]
    gap = one.seen("gap")
    assert len(gap) == 1, "2,600 entries are too far back"
    first, last = gap[0]["from"], gap[0]["to"]
    replayed = [entry["seq"] for entry in one.entries(conversation_id)]
    assert first == 1 and 1 <= last <= head
    assert replayed == list(range(last + 1, head + 1)), "the replay begins where the gap ends"
    assert one.frames.index(gap[0]) < one.frames.index(one.seen("subscribed")[0])
    log = client.log(conversation_id)
    assert [entry["seq"] for entry in log if first <= entry["seq"] <= last] == list(range(first, last + 1))
    assert log[-1]["seq"] == head


@pytest.mark.parametrize("frame", [
    {"conversation_id": UNKNOWN_CONVERSATION, "after_seq": 0}, {"conversation_id": "nonsense", "after_seq": 0},
    {"conversation_id": "", "after_seq": 0}, {"conversation_id": 5, "after_seq": 0}, {"conversation_id": None},
    {"after_seq": 0}, {"conversation_id": UNKNOWN_CONVERSATION, "after_seq": -1},
    {"conversation_id": UNKNOWN_CONVERSATION, "after_seq": "1"}, {"conversation_id": UNKNOWN_CONVERSATION, "after_seq": 1.5},
    {"conversation_id": UNKNOWN_CONVERSATION, "after_seq": 10 ** 30},
], ids=str)
@pytest.mark.parametrize("type", ["subscribe", "unsubscribe"])
def test_a_subscription_to_nothing_is_an_error_with_its_id(alice, chat, type, frame):
    if type == "unsubscribe" and frame.get("conversation_id") == UNKNOWN_CONVERSATION:
        frame = {"conversation_id": 7}
    one = chat(alice)
    one.send(type=type, id="s-9", **frame)
    if frame.get("after_seq") == 10 ** 30:  # No 64-bit number: the frame is not read at all.
        assert one.expect("error")["problem"]["code"] == "malformed_json"
        one.settle()
        return
    answer = one.expect(id="s-9")
    if type == "unsubscribe" and isinstance(frame.get("conversation_id"), str):
        assert answer["type"] in ("error", "unsubscribed")  # Not to be subscribed is what was asked for.
    else:
        assert answer["type"] == "error"
        assert answer["problem"]["code"] in ("not_found", "validation_failed", "malformed_json")
    one.settle()


def test_another_users_conversation_is_not_found_on_the_socket(alice, bob, chat):
    conversation_id = alice.say("Private")["conversation_id"]
    spy = chat(bob)
    spy.send(type="subscribe", id="s", conversation_id=conversation_id, after_seq=0)
    assert spy.expect("error", id="s")["problem"]["code"] == "not_found"
    spy.send(type="message", id="m", conversation_id=conversation_id, content={"type": "text", "text": "Intrusion"})
    assert spy.expect("error", id="m")["problem"]["code"] == "not_found"
    spy.send(type="typing", conversation_id=conversation_id, state="start")
    alice.say("More", conversation_id=conversation_id)
    spy.settle()
    assert spy.entries(conversation_id) == []
    assert "Intrusion" not in texts(alice.messages(conversation_id))


def test_another_tenants_conversation_is_not_found_on_the_socket(service, alice, chat):
    conversation_id = alice.say("Private")["conversation_id"]
    for role in ("end_user", "agent", "service", "admin"):
        spy = chat(service.client(alice.user, tenant="acme", role=role))
        spy.send(type="subscribe", id="s", conversation_id=conversation_id, after_seq=0)
        assert spy.expect("error", id="s")["problem"]["code"] == "not_found"


# --- Several devices, typing


def test_the_senders_other_device_sees_the_message_without_subscribing(alice, chat):
    phone, desktop = chat(alice, device_id="phone"), chat(alice, device_id="desktop")
    ack = phone.say("From the phone")
    seen = desktop.expect_message(direction="inbound")
    assert (seen["id"], seen["seq"]) == (ack["message_id"], ack["seq"])
    desktop.expect_message(direction="outbound", text="You said: From the phone")
    desktop.settle()
    assert texts(desktop.entries(ack["conversation_id"]), "inbound") == ["From the phone"]
    assert not desktop.seen("ack"), "only the sending socket is acknowledged"


def test_a_message_over_http_reaches_the_users_sockets(alice, chat):
    one = chat(alice)
    answer = alice.say("Over HTTP")
    assert one.expect_message(direction="inbound")["id"] == answer["message"]["id"]
    assert one.expect_message(direction="outbound")["id"] == answer["reply"]["id"]


def test_many_devices_on_both_cores_all_see_everything(alice, chat):
    devices = [chat(alice, device_id=f"d{number}") for number in range(12)]
    ack = devices[0].say("To all")
    for device in devices:
        assert device.expect_message(direction="inbound")["seq"] == ack["seq"]
        device.expect_message(direction="outbound")


def test_typing_is_seen_by_others_and_not_by_the_sender(alice, agent, chat):
    conversation_id = alice.handed_to_human()
    user, helper = chat(alice), chat(agent)
    user.subscribe(conversation_id)
    helper.subscribe(conversation_id)
    before = len(alice.log(conversation_id))
    for sender, other, name in ((user, helper, alice.user), (helper, user, agent.user)):
        for state in ("start", "stop"):
            sender.send(type="typing", conversation_id=conversation_id, state=state)
            frame = other.expect("typing", state=state)
            assert frame["conversation_id"] == conversation_id and name in json.dumps(frame["sender"])
        sender.settle()
        assert [frame for frame in sender.seen("typing") if name in json.dumps(frame["sender"])] == []
    assert len(alice.log(conversation_id)) == before, "typing is not kept"


@pytest.mark.parametrize("frame", [{"state": "maybe"}, {"state": 5}, {"state": None}, {}, {"state": "start", "conversation_id": 5},
                                   {"state": "start", "conversation_id": UNKNOWN_CONVERSATION}], ids=str)
def test_typing_that_makes_no_sense_is_an_error(alice, chat, frame):
    conversation_id = alice.say("Hello")["conversation_id"]
    one = chat(alice)
    one.send(**{"type": "typing", "conversation_id": conversation_id, **frame})
    assert one.expect("error")["problem"]["code"] in ("validation_failed", "not_found")
    one.settle()


# --- Ping, errors


def test_ping_is_answered_at_both_levels(alice, echo):
    raw = raw_chat(echo, alice)
    raw.send_json(type="ping")
    assert raw.json() == {"type": "pong"}
    for payload in (b"", b"x", b"p" * 125):
        raw.send_frame(PING, payload)
        frame = raw.frame()
        assert (frame.opcode, frame.payload) == (PONG, payload)
    raw.send_frame(PONG, b"unasked")  # RFC 6455 5.5.3: allowed, and not answered.
    raw.send_json(type="ping", id="p-1")
    assert raw.json()["type"] == "pong"


@pytest.mark.slow
def test_the_server_pings_and_lives_on_the_answer(alice, echo):
    raw = echo("/api/v2/chat/ws", timeout=60)
    raw.send_json(type="connect", token=alice.token)
    heartbeat = raw.json()["heartbeat_ms"] / 1000
    assert heartbeat <= 60, "a proxy in between would have closed by then"
    raw.socket.settimeout(heartbeat * 2 + 5)
    frame = raw.frame()
    assert frame is not None and frame.opcode == PING, frame
    raw.send_frame(PONG, frame.payload)
    raw.send_json(type="ping")
    assert raw.json()["type"] == "pong"


BAD_TEXTS = ["", "{", "nonsense", "{'type':'ping'}", '{"type":"ping"', '{"type":"ping"}{"type":"ping"}', '{"type":"ping",}',
             "[]", "5", "null", '"ping"', "{}", '{"type":null}', '{"type":5}', '{"type":""}', '{"type":"nonsense"}',
             '{"type":"PING"}', '{"type":["ping"]}', "[" * 20_000, '{"a":' * 5_000, "\u0000", '{"type":"connected"}']


@pytest.mark.parametrize("text", BAD_TEXTS, ids=lambda text: repr(text[:24]))
def test_a_frame_that_is_none_is_answered_with_an_error_and_the_socket_lives_on(alice, chat, text):
    one = chat(alice)
    one.socket.send(text)
    problem = one.expect("error")["problem"]
    assert problem["code"] in ("malformed_json", "validation_failed")
    one.settle()
    assert one.say("Still here")["seq"] == 1


def test_an_unknown_type_is_answered_with_its_id(alice, chat):
    one = chat(alice)
    one.send(type="teleport", id="t-1")
    assert one.expect("error", id="t-1")["problem"]["code"] == "validation_failed"


@pytest.mark.parametrize("frame,pointer", [
    ({"content": {"type": "text", "text": ""}}, "/content/text"), ({"content": {"type": "text"}}, "/content/text"),
    ({"content": {"type": "text", "text": "x" * 10_001}}, "/content/text"), ({"content": {"type": "hologram"}}, "/content/type"),
    ({"content": {"type": "location", "latitude": 91, "longitude": 0}}, "/content/latitude"), ({"content": "Hello"}, "/content"),
    ({}, "/content"), ({"content": {"type": "text", "text": "x"}, "channel": "telegraph"}, "/channel"),
    ({"content": {"type": "text", "text": "x"}, "conversation_id": 5}, "/conversation_id"),
], ids=lambda value: str(value)[:50])
def test_an_invalid_message_is_answered_with_a_pointer(alice, chat, frame, pointer):
    one = chat(alice)
    one.send(type="message", id=f"c-1-{alice.user}", **frame)
    problem = one.expect("error", id=f"c-1-{alice.user}")["problem"]
    assert problem["status"] == 422 and problem["code"] == "validation_failed"
    assert pointer in [error["pointer"] for error in problem["errors"]]
    one.settle()
    assert not one.seen("ack") and alice.conversations()["data"] == []


@pytest.mark.parametrize("id", [..., None, 5, "", "i" * 10_000])
def test_a_message_needs_an_id_of_its_client(alice, chat, id):
    one = chat(alice)
    frame = {"type": "message", "id": id, "content": {"type": "text", "text": "Hello"}}
    one.send(**{name: value for name, value in frame.items() if value is not ...})
    assert one.expect("error")["problem"]["code"] == "validation_failed"
    one.settle()


@pytest.mark.parametrize("conversation_id", [UNKNOWN_CONVERSATION, "nonsense", "conv_"])
def test_a_message_to_a_conversation_that_does_not_exist_is_an_error(alice, chat, conversation_id):
    one = chat(alice)
    one.send(type="message", id=f"c-1-{alice.user}", conversation_id=conversation_id, content={"type": "text", "text": "Hello"})
    assert one.expect("error", id=f"c-1-{alice.user}")["problem"]["code"] in ("not_found", "validation_failed")


def test_an_end_user_cannot_speak_for_another_on_the_socket(alice, bob, chat):
    one = chat(alice)
    one.send(type="message", id=f"c-1-{alice.user}", user_id=bob.user, content={"type": "text", "text": "I am Bob"})
    one.expect(where=lambda frame: frame.get("id") == f"c-1-{alice.user}")
    assert bob.conversations()["data"] == []


def test_a_second_connect_does_not_change_the_user(service, alice, bob, chat):
    one = chat(alice)
    one.send(type="connect", token=bob.token)
    try:
        one.expect(where=lambda frame: frame["type"] in ("error", "connected"), timeout=10)
        assert all(frame["user_id"] == alice.user for frame in one.seen("connected"))
        one.say("Who am I?")
    except ConnectionClosed as closed:
        assert closed.rcvd is not None and closed.rcvd.code in (1002, 1008, 4401, 4403), closed
    assert bob.conversations()["data"] == []


@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_an_oversized_frame_closes_with_1009(alice, echo, size):
    raw = raw_chat(echo, alice)
    raw.send_frame(TEXT, b'{"type":"ping","x":"' + b"x" * size + b'"}')
    raw.expect_close(1009)


def test_an_oversized_frame_is_refused_by_its_header_alone(alice, echo):
    raw = raw_chat(echo, alice)
    raw.send(struct.pack("!BBQ", 0x81, 0x80 | 127, 2 ** 40) + b"mask")
    raw.expect_close(1009)


def test_an_oversized_message_in_small_fragments_closes_with_1009(alice, echo):
    raw = raw_chat(echo, alice)
    raw.send_frame(TEXT, b'{"x":"', final=False)
    for _ in range(200):
        raw.send_frame(CONTINUATION, b"x" * 1_000, final=False)
    raw.expect_close(1009)


def test_a_binary_frame_is_refused_with_1003(alice, echo):
    raw = raw_chat(echo, alice)
    raw.send_frame(BINARY, b'{"type":"ping"}')
    raw.expect_close(1003)


def test_fragments_with_control_frames_between_make_one_message(alice, echo):
    raw = raw_chat(echo, alice)
    whole = json.dumps({"type": "message", "id": f"c-1-{alice.user}", "content": {"type": "text", "text": "Stück für Stück 😀"}},
                       ensure_ascii=False).encode()
    raw.send_frame(TEXT, whole[:1], final=False)
    for number, byte in enumerate(whole[1:-1]):
        raw.send_frame(CONTINUATION, bytes([byte]), final=False)
        if number % 10 == 0:
            raw.send_frame(PING, b"between %d" % number)
            frame = raw.frame()
            assert (frame.opcode, frame.payload) == (PONG, b"between %d" % number), "a control frame does not wait"
    raw.send_frame(CONTINUATION, whole[-1:])
    assert raw.json()["type"] == "ack"


# --- RFC 6455 on /bench/echo

ECHO_SIZES = [0, 1, 2, 124, 125, 126, 127, 128, 1023, 1024, 1025, 4096, 16_383, 16_384, 65_534, 65_535, 65_536, 65_537,
              131_072, 1_048_575, 1_048_576]


@pytest.mark.parametrize("size", ECHO_SIZES)
def test_text_and_binary_of_every_size_come_back(echo, size):
    raw = echo(timeout=30)
    for opcode, payload in ((TEXT, b"t" * size), (BINARY, os.urandom(size))):
        raw.send_frame(opcode, payload)
        message = raw.message()
        assert (message.opcode, message.reserved) == (opcode, 0) and message.payload == payload


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\x80\x00\x00\x01"])
def test_every_mask_is_undone_at_every_alignment(echo, mask):
    raw = echo()
    for size in range(0, 70):
        payload = bytes(range(size))
        raw.send_frame(BINARY, payload, mask=mask)
        assert raw.message().payload == payload, size


def test_a_frame_is_understood_when_split_at_every_byte(echo):
    raw = echo()
    for size in (5, 130):
        data = frame_bytes(TEXT, "é" * size) + frame_bytes(PING, b"p")
        for split in range(1, len(data)):
            raw.send(data[:split])
            raw.wait_until_read()
            raw.send(data[split:])
            assert raw.message_or_pong() == (TEXT, "é" * size), (size, split)
            assert raw.message_or_pong() == (PONG, "p"), (size, split)


def _message_or_pong(self):
    frame = self.frame()
    return frame.opcode, frame.payload.decode("utf-8")


RawWebSocket.message_or_pong = _message_or_pong


def test_a_frame_is_understood_byte_by_byte(echo):
    raw = echo()
    for byte in frame_bytes(TEXT, "slowly 😀") + frame_bytes(BINARY, b"\x00" * 130):
        raw.send(bytes([byte]))
        raw.wait_until_read()
    assert raw.message().payload.decode() == "slowly 😀"
    assert raw.message().payload == b"\x00" * 130


def test_many_messages_in_one_write_come_back_in_order(echo):
    raw = echo(timeout=30)
    data = b"".join(frame_bytes(TEXT, f"n{number}") for number in range(3_000))
    sender = threading.Thread(target=raw.send, args=(data,))
    sender.start()
    assert [raw.message().payload for _ in range(3_000)] == [b"n%d" % number for number in range(3_000)]
    sender.join()


def test_frames_sent_with_the_upgrade_request_are_not_lost(service):
    from conftest import request_bytes
    connection = service.raw()
    connection.send(request_bytes("GET", "/bench/echo", {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}) + frame_bytes(TEXT, "eager"))
    assert connection.response().status == 101
    assert RawWebSocket.frame(connection).payload == b"eager"
    connection.close()


@pytest.mark.parametrize("pieces", [[b"", b"", b""], [b"a", b"b", b"c"], [b"", b"x"], [b"x", b""], [b"y" * 70_000, b"z" * 70_000],
                                    [b"\xf0\x9f", b"\x98", b"\x80"]], ids=lambda pieces: str(pieces)[:30])
def test_fragments_come_back_as_one_message(echo, pieces):
    raw = echo()
    for number, piece in enumerate(pieces):
        raw.send_frame(TEXT if number == 0 else CONTINUATION, piece, final=number == len(pieces) - 1)
    message = raw.message()
    assert (message.opcode, message.payload) == (TEXT, b"".join(pieces))


VIOLATIONS = {
    "an unmasked text": frame_bytes(TEXT, "x", masked=False),
    "an unmasked empty frame": frame_bytes(BINARY, b"", masked=False),
    "an unmasked ping": frame_bytes(PING, b"x", masked=False),
    "an unmasked close": frame_bytes(CLOSE, struct.pack("!H", 1000), masked=False),
    **{f"opcode {opcode:X}": frame_bytes(opcode, b"") for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)},
    "RSV1 without a negotiated extension": frame_bytes(TEXT, "x", reserved=4),
    "RSV2": frame_bytes(TEXT, "x", reserved=2),
    "RSV3": frame_bytes(BINARY, b"x", reserved=1),
    "all reserved bits": frame_bytes(TEXT, "x", reserved=7),
    "RSV1 on a ping": frame_bytes(PING, b"", reserved=4),
    "a fragmented ping": frame_bytes(PING, b"x", final=False),
    "a fragmented close": frame_bytes(CLOSE, struct.pack("!H", 1000), final=False),
    "a ping of 126 bytes": frame_bytes(PING, b"p" * 126),
    "a pong of 70,000 bytes": frame_bytes(PONG, b"p" * 70_000),
    "a close of 126 bytes": frame_bytes(CLOSE, struct.pack("!H", 1000) + b"r" * 124),
    "a continuation of nothing": frame_bytes(CONTINUATION, b"x"),
    "an unfinished continuation of nothing": frame_bytes(CONTINUATION, b"x", final=False),
    "a message inside a message": frame_bytes(TEXT, b"a", final=False) + frame_bytes(TEXT, b"b"),
    "a binary message inside a text": frame_bytes(TEXT, b"a", final=False) + frame_bytes(BINARY, b"b", final=False),
    "a continuation after the end": frame_bytes(TEXT, b"a", final=False) + frame_bytes(CONTINUATION, b"b") + frame_bytes(CONTINUATION, b"c"),
    "a length with its highest bit": struct.pack("!BBQ", 0x82, 0xFF, 2 ** 63) + b"mask",
    "a close of one byte": frame_bytes(CLOSE, b"\x03"),
    **{f"close code {code}": frame_bytes(CLOSE, struct.pack("!H", code))
       for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)},
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_frame_against_the_standard_closes_with_1002(echo, name):
    raw = echo()
    raw.send_leniently(VIOLATIONS[name] + frame_bytes(TEXT, "after"))
    raw.expect_close(1002)
    assert b"after" not in raw.read_to_end(), "nothing that follows a violation is read"


@pytest.mark.parametrize("name", ["an unmasked text", "opcode 3", "RSV2", "a fragmented ping", "a continuation of nothing"])
def test_the_chat_socket_holds_to_the_standard_too(alice, echo, name):
    raw = raw_chat(echo, alice)
    raw.send_leniently(VIOLATIONS[name])
    raw.expect_close(1002)


BAD_UTF8 = {
    "a lone continuation byte": b"\x80", "a lone lead byte": b"\xc3", "FF": b"\xff", "FE": b"ok\xfe", "overlong slash": b"\xc0\xaf",
    "overlong of three": b"\xe0\x80\xaf", "overlong of four": b"\xf0\x80\x80\xaf", "C1": b"\xc1\xbf", "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80", "beyond U+10FFFF": b"\xf4\x90\x80\x80", "F5": b"\xf5\x80\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80", "cut off": b"good \xf0\x9f\x98", "bad after much good": b"g" * 5_000 + b"\xff" + b"g" * 5_000,
    "bad at a word's edge": b"1234567\xff89", "latin-1": "é".encode("latin-1"),
}


@pytest.mark.parametrize("name", BAD_UTF8)
def test_invalid_utf8_closes_with_1007(echo, name):
    raw = echo()
    raw.send_frame(TEXT, BAD_UTF8[name])
    raw.expect_close(1007)


@pytest.mark.parametrize("name", BAD_UTF8)
def test_invalid_utf8_is_found_across_fragments(echo, name):
    raw, payload = echo(), BAD_UTF8[name]
    raw.send_frame(TEXT, payload[:1], final=False)
    for byte in payload[1:200] if len(payload) < 1_000 else ():
        raw.send_frame(CONTINUATION, bytes([byte]), final=False)
    raw.send_frame(CONTINUATION, b"" if len(payload) < 1_000 else payload[1:])
    raw.expect_close(1007)


def test_invalid_utf8_is_told_before_the_message_ends(echo):
    raw = echo()
    raw.send_frame(TEXT, b"good", final=False)
    raw.send_frame(CONTINUATION, b"bad \xff", final=False)
    raw.expect_close(1007)


@pytest.mark.parametrize("name", BAD_UTF8)
def test_the_same_bytes_are_fine_as_binary(echo, name):
    raw = echo()
    raw.send_frame(BINARY, BAD_UTF8[name])
    assert raw.message().payload == BAD_UTF8[name]


@pytest.mark.parametrize("text", ["\u0000", "\u007f\u0080", "\u07ff\u0800", "\ud7ff\ue000", "\uffff", "\U00010000", "\U0010ffff", "\ufeff"])
def test_utf8_at_its_edges_is_valid(echo, text):
    raw = echo()
    raw.send_frame(TEXT, text)
    assert raw.message().payload.decode("utf-8") == text


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_answered_with_its_code_and_the_connection_ends(echo, code):
    raw = echo()
    raw.send_frame(CLOSE, struct.pack("!H", code) + "bye é".encode())
    assert raw.expect_close(code).close_code == code
    raw.expect_tcp_end()


def test_a_close_without_a_code_is_answered_without_one(echo):
    raw = echo()
    raw.send_frame(CLOSE)
    frame = raw.frame()
    assert frame.opcode == CLOSE and frame.close_code in (None, 1000)
    raw.expect_tcp_end()


def test_a_close_reason_must_be_text(echo):
    raw = echo()
    raw.send_frame(CLOSE, struct.pack("!H", 1000) + b"\xff\xfe")
    raw.expect_close(1007, 1002)


def test_nothing_is_answered_after_a_close(echo):
    raw = echo()
    raw.send(frame_bytes(TEXT, "before") + frame_bytes(CLOSE, struct.pack("!H", 1000)) + frame_bytes(TEXT, "after")
             + frame_bytes(PING, b"p"))
    assert raw.message().payload == b"before"
    assert raw.frame().opcode == CLOSE
    raw.expect_tcp_end()


def test_a_close_inside_a_fragmented_message_is_obeyed(echo):
    raw = echo()
    raw.send_frame(TEXT, b"half", final=False)
    raw.send_frame(CLOSE, struct.pack("!H", 1000))
    raw.expect_close(1000)
    raw.expect_tcp_end()


def test_the_chat_socket_ends_by_the_handshake(alice, chat):
    one = chat(alice)
    one.close()
    assert (one.socket.close_code, one.socket.protocol.close_rcvd.code) == (1000, 1000)


def test_sockets_that_vanish_harm_nobody(service, alice, echo):
    for _ in range(20):
        raw = RawWebSocket(service, "/bench/broadcast")
        raw.send_frame(TEXT, b"half", final=False)
        raw.reset()
    raw = echo()
    raw.send_frame(TEXT, "still here")
    assert raw.message().payload == b"still here"


# --- permessage-deflate


def compressing(service, path="/bench/echo", **parameters):
    return open_socket(service.websocket_url(path), proxy=None, compression=None, max_size=2 ** 25, max_queue=None,
                       ping_interval=None, open_timeout=20, close_timeout=10,
                       extensions=[ClientPerMessageDeflateFactory(**parameters)])


def agreed(connection):
    return [extension.name for extension in connection.protocol.extensions]


PARAMETERS = [{}, {"client_max_window_bits": True}, {"server_no_context_takeover": True}, {"client_no_context_takeover": True},
              {"server_no_context_takeover": True, "client_no_context_takeover": True},
              *({"server_max_window_bits": bits, "client_max_window_bits": bits} for bits in range(9, 16))]


@pytest.mark.parametrize("parameters", PARAMETERS, ids=str)
def test_compressed_messages_come_back_with_every_parameter(service, parameters):
    generator = random.Random(7)
    with compressing(service, **parameters) as connection:
        assert agreed(connection) == ["permessage-deflate"]
        for size in (0, 1, 100, 1023, 1024, 1025, 5_000, 70_000, 300_000):
            words = " ".join(generator.choice(["alpha", "beta", "gamma", "δέλτα", "😀"]) for _ in range(size // 6))
            noise = generator.randbytes(size)
            for message in (words, words, noise, noise):  # The repetition goes through the kept context.
                connection.send(message)
                assert connection.recv(timeout=20) == message


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 65_535, 65_536, 262_144, 1_048_576])
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_compressed_messages_of_every_size_come_back(service, size, kind):
    message = ("ab😀c" * (size // 7 + 1))[:size] if kind == "text" else os.urandom(size)
    with compressing(service, client_max_window_bits=True) as connection:
        connection.send(message)
        assert connection.recv(timeout=20) == message


def test_sixteen_mebibytes_come_back_and_one_byte_more_does_not(service):
    message = os.urandom(1024) * 16_384  # Compressible: the frame on the wire is small, the message is at the limit.
    with compressing(service) as connection:
        connection.send(message)
        assert connection.recv(timeout=60) == message
    with open_socket(service.websocket_url("/bench/echo"), proxy=None, compression=None, max_size=2 ** 25,
                     ping_interval=None) as connection:
        connection.send(message)
        assert connection.recv(timeout=60) == message
        with pytest.raises(ConnectionClosed) as closed:
            connection.send(message + b"x")
            connection.recv(timeout=60)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009, closed.value


def test_a_long_text_is_sent_compressed_and_a_short_one_is_not(service, alice):
    raw = RawWebSocket(service, "/api/v2/chat/ws", headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert "permessage-deflate" in raw.handshake.header("Sec-WebSocket-Extensions", "")
    raw.send_json(type="connect", token=alice.token)
    decompressor = zlib.decompressobj(-15)

    def read():
        message = raw.message()
        payload = message.payload
        if message.reserved == 4:
            payload = decompressor.decompress(payload + b"\x00\x00\xff\xff")
        return message.reserved, json.loads(payload)

    assert read()[1]["type"] == "connected"
    long_text = "again and again " * 500
    raw.send_json(type="message", id=f"c-1-{alice.user}", content={"type": "text", "text": long_text})
    seen = {}
    while "outbound" not in seen:
        reserved, frame = read()
        if frame["type"] == "message":
            seen[frame["message"].get("direction", "other")] = (reserved, frame["message"]["content"]["text"])
        if frame["type"] == "ack":
            assert reserved == 0, "an acknowledgement is below 1 KiB"
    assert seen["inbound"] == (4, long_text) and seen["outbound"] == (4, "You said: " + long_text)
    raw.close()


@pytest.mark.parametrize("offer", [
    "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=16",
    "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=08",
    "permessage-deflate; server_max_window_bits=\"x\"", "permessage-deflate; client_max_window_bits=7",
    "permessage-deflate; client_max_window_bits=99", "permessage-deflate; unknown_parameter",
    "permessage-deflate; server_no_context_takeover=1", "permessage-deflate; client_no_context_takeover=true",
    "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "x-webkit-deflate-frame", "permessage-bzip2",
])
def test_an_offer_that_the_standard_forbids_is_declined(service, offer):
    raw = RawWebSocket(service, headers={"Sec-WebSocket-Extensions": offer})
    if raw.handshake.status == 101:
        assert raw.handshake.header("Sec-WebSocket-Extensions") is None, "declined means not mentioned"
        raw.send_frame(TEXT, "plain")
        assert raw.message().payload == b"plain"
    else:
        assert raw.handshake.status == 400
    raw.close()


def test_of_several_offers_the_first_that_is_good_is_taken(service):
    raw = RawWebSocket(service, headers={"Sec-WebSocket-Extensions":
                                         "permessage-deflate; unknown=1, x-other, permessage-deflate; server_no_context_takeover"})
    accepted = raw.handshake.header("Sec-WebSocket-Extensions")
    assert accepted and accepted.count("permessage-deflate") == 1 and "server_no_context_takeover" in accepted
    assert "unknown" not in accepted and "x-other" not in accepted
    raw.close()


def deflating(service):
    raw = RawWebSocket(service, headers={"Sec-WebSocket-Extensions": "permessage-deflate"}, timeout=30)
    assert raw.handshake.header("Sec-WebSocket-Extensions")
    return raw


def deflate(data, level=9):
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_compressed_message_in_fragments_is_understood(service):
    raw, packed = deflating(service), deflate(b"fragmented " * 30)
    raw.send_frame(TEXT, packed[:1], final=False, reserved=4)
    for byte in packed[1:]:
        raw.send_frame(CONTINUATION, bytes([byte]), final=False)
        raw.send_frame(PING, b"")
        assert raw.frame().opcode == PONG
    raw.send_frame(CONTINUATION, b"")
    message = raw.message()
    payload = message.payload if message.reserved == 0 else zlib.decompressobj(-15).decompress(message.payload + b"\0\0\xff\xff")
    assert payload == b"fragmented " * 30
    raw.close()


def test_an_uncompressed_message_is_allowed_after_negotiation(service):
    raw = deflating(service)
    raw.send_frame(TEXT, "plain")
    message = raw.message()
    payload = message.payload if message.reserved == 0 else zlib.decompressobj(-15).decompress(message.payload + b"\0\0\xff\xff")
    assert payload == b"plain"
    raw.close()


@pytest.mark.parametrize("name", ["RSV1 on a continuation", "RSV1 on a ping", "RSV2", "RSV1 and RSV3"])
def test_reserved_bits_in_the_wrong_place_close_with_1002(service, name):
    raw = deflating(service)
    if name == "RSV1 on a continuation":
        raw.send_frame(TEXT, deflate(b"x"), final=False, reserved=4)
        raw.send_frame(CONTINUATION, b"", reserved=4)
    else:
        raw.send_frame(PING if "ping" in name else TEXT, deflate(b"x"), reserved={"RSV1 on a ping": 4, "RSV2": 2}.get(name, 5))
    raw.expect_close(1002)
    raw.close()


def beyond_the_window():
    """Deflate data that refers back to bytes which were never sent."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=b"a dictionary that the server lacks")
    return (compressor.compress(b"a dictionary that the server lacks") + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("payload", [b"\xff" * 20, b"\x06" * 10, b"\xfd" + b"\xff" * 30, b"\x00\x05\x00\x00\x00abcde",
                                     beyond_the_window()],
                         ids=["a reserved block", "another reserved block", "broken tables", "a wrong stored length",
                              "a reference to nothing"])
def test_corrupt_compressed_data_closes_the_socket(service, payload):
    raw = deflating(service)
    raw.send_frame(BINARY, payload, reserved=4)
    raw.expect_close(1002, 1003, 1007)
    raw.close()


def test_invalid_utf8_is_found_after_decompression(service):
    raw = deflating(service)
    raw.send_frame(TEXT, deflate(b"good \xff bad"), reserved=4)
    raw.expect_close(1007)
    raw.close()


def test_a_decompression_bomb_is_stopped_at_the_limit(service, alice):
    bomb = deflate(b"\0" * (64 * 1024 * 1024))
    assert len(bomb) < 100_000
    raw = deflating(service)
    raw.send_frame(BINARY, bomb, reserved=4)
    raw.expect_close(1009)
    raw.close()
    chat = RawWebSocket(service, "/api/v2/chat/ws", headers={"Sec-WebSocket-Extensions": "permessage-deflate"}, timeout=30)
    chat.send_json(type="connect", token=alice.token)
    chat.message()
    chat.send_frame(TEXT, deflate(b" " * 5_000_000), reserved=4)
    chat.expect_close(1009)
    chat.close()


# --- Broadcast


def test_a_broadcast_reaches_every_socket_on_every_core(echo):
    sockets = [echo("/bench/broadcast", timeout=20) for _ in range(16)]
    for number, sender in enumerate(sockets):
        # A socket is on the path once its own message has come back.
        sender.send_frame(TEXT, f"hello {number}")
        while sender.message().payload != b"hello %d" % number:
            pass
    expected = {b"from %d" % number for number in range(16)}
    for number, sender in enumerate(sockets):
        sender.send_frame(TEXT, f"from {number}")
    for one in sockets:
        seen = []
        while len(seen) < 16:
            payload = one.message().payload
            if payload.startswith(b"from "):
                seen.append(payload)
        assert set(seen) == expected and len(seen) == len(set(seen))


def test_a_broadcast_keeps_each_senders_order_and_kind(echo):
    listener, senders = echo("/bench/broadcast", timeout=30), [echo("/bench/broadcast", timeout=30) for _ in range(3)]
    for one in [listener, *senders]:
        token = unique().encode()
        one.send_frame(BINARY, token)
        while one.message().payload != token:
            pass
    for number in range(300):
        for name, sender in enumerate(senders):
            sender.send_frame(TEXT, f"{name}:{number}")
    heard = {b"0": [], b"1": [], b"2": []}
    while sum(map(len, heard.values())) < 900:
        message = listener.message()
        if message.opcode == TEXT and b":" in message.payload:
            name, number = message.payload.split(b":")
            heard[name].append(int(number))
    assert all(numbers == list(range(300)) for numbers in heard.values())


# --- Slow consumers, floods, loss of the link


def drain(raw, seconds=20):
    """Reads what the server still had for a slow consumer; returns (messages, last frame)."""
    raw.socket.settimeout(seconds)
    count = 0
    while True:
        try:
            frame = raw.frame()
        except Exception as error:  # A cut in the middle of a frame ends the reading, and fails the caller.
            return count, error
        if frame is None or frame.opcode == CLOSE:
            return count, frame
        count += frame.opcode in (TEXT, BINARY)


def test_a_slow_consumer_of_a_broadcast_is_shed_and_others_are_not(service, echo):
    slow = RawWebSocket(service, "/bench/broadcast", receive_buffer_bytes=4096, timeout=20)
    token = unique().encode()
    slow.send_frame(TEXT, token)
    while slow.message().payload != token:
        pass
    sender, payload, count = echo("/bench/broadcast", timeout=30), os.urandom(60_000), 0
    for count in range(1, 1_001):  # 60 MB at most: no sane outbox holds them.
        sender.send_frame(BINARY, payload)
        assert sender.message().payload == payload, "the sender keeps up and hears itself"
    heard, last = drain(slow)
    assert heard < count, "an unbounded outbox kept everything for a socket that never reads"
    assert getattr(last, "opcode", None) == CLOSE and last.close_code == 4408, last
    slow.close()


def test_a_slow_subscriber_is_shed_and_can_resume_without_loss(service, chat):
    client, emoji = service.client(), "😀" * 9_000  # 36 KB a message
    conversation_id = client.handed_to_human()
    slow = RawWebSocket(service, "/api/v2/chat/ws", receive_buffer_bytes=4096, timeout=30)
    slow.send_json(type="connect", token=client.token)
    assert slow.json()["type"] == "connected"
    slow.send_json(type="subscribe", id="s", conversation_id=conversation_id, after_seq=0)
    while slow.json()["type"] != "subscribed":
        pass

    def flood(part):
        one = client.twin()
        for number in range(200):
            one.say(emoji + f"{part}-{number}", conversation_id=conversation_id)
        one.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(flood, range(4)))  # 29 MB
    heard, last = drain(slow)
    assert heard < 800, "an unbounded outbox kept everything for a socket that never reads"
    assert getattr(last, "opcode", None) == CLOSE and last.close_code == 4408, last
    slow.close()
    head = client.conversation(conversation_id, limit=1)["conversation"]["last_seq"]
    one = chat(client)
    one.subscribe(conversation_id, after_seq=head - 50)
    assert [entry["seq"] for entry in one.entries(conversation_id)] == list(range(head - 49, head + 1))


def test_reconnecting_again_and_again_loses_and_repeats_nothing(service):
    client, count, generator = service.client(), 300, random.Random(11)
    conversation_id = client.handed_to_human()
    watcher = service.client(role="agent")  # The sender's own devices would hear it without subscribing.
    start = client.log(conversation_id)[-1]["seq"]
    failures = []

    def send():
        try:
            one = client.twin()
            for number in range(count):
                one.say(f"n{number}", conversation_id=conversation_id)
            one.close()
        except Exception as error:
            failures.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    seen, last, rounds = [], start, 0
    while last < start + count and rounds < 500:
        rounds += 1
        one = ChatSocket(service, watcher)
        one.subscribe(conversation_id, after_seq=last)
        for _ in range(generator.randrange(1, 25)):
            if one.entries(conversation_id) and one.entries(conversation_id)[-1]["seq"] >= start + count:
                break
            try:
                one.receive(timeout=1)
            except TimeoutError:
                break
        seqs = [entry["seq"] for entry in one.entries(conversation_id)]
        seen += seqs
        last = seqs[-1] if seqs else last
        one.drop() if rounds % 2 else one.close()
    sender.join()
    assert not failures, failures
    assert seen == list(range(start + 1, start + count + 1))
    assert rounds >= 3, "the test reconnected"


def test_subscribing_during_a_storm_leaves_no_hole_between_replay_and_live(service, chat):
    client, watcher = service.client(), service.client(role="agent")
    conversation_id = client.handed_to_human()
    start = client.log(conversation_id)[-1]["seq"]

    def send(part):
        one = client.twin()
        for number in range(40):
            one.say(f"{part}-{number}", conversation_id=conversation_id)
        one.close()

    with ThreadPoolExecutor(4) as pool:
        storm = [pool.submit(send, part) for part in range(4)]
        listeners = []
        while not all(job.done() for job in storm) and len(listeners) < 30:
            one = chat(watcher)
            one.subscribe(conversation_id, after_seq=0)
            listeners.append(one)
        for job in storm:
            job.result()
    head = start + 160
    for one in listeners:
        while one.entries(conversation_id)[-1]["seq"] < head:
            one.receive(timeout=10)
        assert [entry["seq"] for entry in one.entries(conversation_id)] == list(range(1, head + 1))
    assert listeners


def test_a_flood_of_pings_and_errors_does_not_stop_others(service, alice, chat, echo):
    flood = raw_chat(echo, alice)
    data = (frame_bytes(PING, b"p" * 100) + frame_bytes(TEXT, "nonsense")) * 2_000
    sender = threading.Thread(target=flood.send_leniently, args=(data,))
    sender.start()
    other = chat(service.client())
    assert other.say("Hello")["seq"] == 1
    flood.socket.settimeout(15)
    answered = 0
    while answered < 1_000:
        frame = flood.frame()
        if frame is None or frame.opcode == CLOSE:
            assert frame is None or frame.close_code in (4408, 4429, 1008), frame
            break
        if frame.opcode == TEXT:
            check_problem_object(json.loads(frame.payload)["problem"])
        answered += 1
    flood.close()
    sender.join()
    other.settle()


def test_the_number_of_sockets_is_told_and_falls_again(service, alice):
    def gauge():
        from test_ops import parse_metrics
        samples = parse_metrics(service.metrics())["chat_ws_connections"].samples
        return sum(value for _, _, value in samples)

    before = gauge()
    sockets = [ChatSocket(service, alice) for _ in range(7)]
    assert gauge() >= before + 7 - 2  # Sockets of earlier tests may be on their way out.
    for one in sockets:
        one.drop()
    eventually(lambda: gauge() <= before, 10, "the gauge of sockets falling")
