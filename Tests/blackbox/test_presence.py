"""Whether a user is there, as agents see it; and runs that are told to who comes later, or that expire."""

import time

from conftest import unique
from test_events import EventStream


def begun(client):
    return client.say("Hello")["conversation_id"]


def test_an_agent_sees_a_user_come_and_go(service, alice, agent):
    conversation_id = begun(alice)
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        frame = helper.expect("presence")
        assert frame == {"type": "presence", "conversation_id": conversation_id, "user_id": alice.user,
                         "state": "offline"}, "nobody has seen the user yet"
        user = service.chat(alice)
        assert helper.expect("presence")["state"] == "online"
        user.close()
        left = helper.expect("presence", timeout=15)
        assert left["state"] == "offline" and left["last_seen_at"].endswith("Z")


def test_a_reconnect_does_not_flap(service, alice, agent):
    conversation_id = begun(alice)
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        helper.expect("presence", state="offline")
        for _ in range(4):
            user = service.chat(alice)
            user.drop()
        with service.chat(alice) as user:
            began = time.monotonic()
            while time.monotonic() < began + 7:
                user.settle()
                helper.settle()
                time.sleep(0.5)
            assert [frame["state"] for frame in helper.seen("presence")] == ["offline", "online"]


def test_a_stream_is_a_device_too(service, alice, agent):
    conversation_id = begun(alice)
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        helper.expect("presence", state="offline")
        with EventStream(service, alice, conversation_id) as stream:
            stream.open()
            helper.expect("presence", state="online")
        helper.expect("presence", state="offline", timeout=15)


def test_a_stream_of_an_agent_tells_who_is_there(service, alice, agent):
    conversation_id = begun(alice)
    with EventStream(service, agent, conversation_id) as stream:
        stream.open()
        stream.wait(lambda: any(event["event"] == "presence" for event in stream.events))
        with service.chat(alice):
            stream.wait(lambda: any(event["event"] == "presence" and event["json"]["state"] == "online"
                                    for event in stream.events))


def test_a_users_stream_shows_no_other_conversation(service, alice):
    conversation_id = begun(alice)
    with EventStream(service, alice, conversation_id) as stream:
        stream.open()
        stream.entries(2)
        other = alice.say("elsewhere", channel="sms")["conversation_id"]
        assert other != conversation_id
        alice.say("here")
        stream.entries(4)
        assert {event["json"]["conversation_id"] for event in stream.events} == {conversation_id}


def test_end_users_are_not_told_of_presence(service, alice, agent):
    conversation_id = begun(alice)
    with service.chat(alice) as user, EventStream(service, alice, conversation_id) as stream:
        stream.open()
        user.subscribe(conversation_id)
        with service.chat(alice.twin()), service.chat(agent) as helper:
            helper.subscribe(conversation_id)
            helper.expect("presence")
        user.settle()
        stream.entries(2)
        assert user.seen("presence") == [] and not any(event["event"] == "presence" for event in stream.events)


def test_another_tenants_agent_is_told_nothing(service, alice):
    conversation_id = begun(alice)
    foreign = service.client(user=unique("agent"), tenant="acme", role="agent")
    with service.chat(foreign) as helper:
        helper.send(type="subscribe", id="s", conversation_id=conversation_id, after_seq=0)
        assert helper.expect("error")["problem"]["code"] == "not_found"
        with service.chat(alice) as user:
            user.send(type="typing", conversation_id=conversation_id, state="start")
            user.send(type="read", conversation_id=conversation_id, seq=2)
            user.expect("receipt")
        helper.settle()
        assert {frame["type"] for frame in helper.frames} == {"connected", "error", "pong"}


# --- Runs


def test_who_comes_while_a_run_goes_on_is_told_the_text_so_far(service, alice, agent):
    conversation_id = begun(alice)
    words = " ".join(f"word{number}" for number in range(40))
    with service.chat(alice) as user, service.chat(agent) as helper:
        user.subscribe(conversation_id)
        user.say(words)
        user.expect("run", state="delta", index=5)
        helper.subscribe(conversation_id)
        first = helper.expect("run", state="started")
        text, index = "", -1
        while True:
            frame = helper.expect("run", run_id=first["run_id"], where=lambda frame: frame["state"] != "started")
            if frame["state"] == "ended":
                break
            if helper.frames.index(frame) < helper.frames.index(first):
                continue  # It was on its way before the text so far.
            assert index == -1 or frame["index"] == index + 1, frame
            text, index = text + frame["text"], frame["index"]
        assert frame["reason"] == "completed" and text == f"You said: {words}"


def test_a_run_that_takes_too_long_expires(launch):
    service = launch(REQUEST_TIMEOUT_MS="500")
    alice = service.client()
    with service.chat(alice) as user:
        conversation_id = user.say(" ".join(["word"] * 60))["conversation_id"]
        frame = user.expect("run", state="ended")
        assert frame["reason"] == "expired" and frame["conversation_id"] == conversation_id
        user.say("short")
        assert user.expect("run", state="ended")["reason"] == "completed"
    replies = [entry for entry in alice.log(conversation_id) if entry["direction"] == "outbound"]
    assert len(replies) == 1, "what expired has no message"
    assert "chat_runs_expired_total 0" not in service.metrics()
