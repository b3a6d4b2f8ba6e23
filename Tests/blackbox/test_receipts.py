"""Who has read a conversation up to where: cursors, receipts, what is unread, the status of messages; and typing."""

import threading

import pytest

from conftest import check_problem, eventually, unique
from test_agent_messages import replied
from test_events import EventStream

UNKNOWN = "conv_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"


def mark(client, conversation_id, seq, **options):
    return client.post(f"/api/v2/chat/conversations/{conversation_id}/read", {"seq": seq}, **options)


def marked(client, conversation_id, seq):
    response = mark(client, conversation_id, seq)
    assert response.status == 204 and response.body == b"", repr(response)


def receipt(conversation_id, client, read, delivered=None):
    return {"type": "receipt", "conversation_id": conversation_id, "user_id": client.user,
            "delivered_seq": read if delivered is None else delivered, "read_seq": read}


def shown(client, conversation_id):
    return client.conversation(conversation_id)["conversation"]


def statuses(client, conversation_id):
    return [entry["status"] for entry in client.log(conversation_id) if entry["direction"] == "outbound"]


@pytest.fixture
def conversation_id(alice):
    return alice.say("Hello")["conversation_id"]


# --- Over HTTP


def test_what_was_read_is_not_unread_any_more(alice, agent, conversation_id):
    replied(agent, conversation_id, "one")
    replied(agent, conversation_id, "two")
    assert shown(alice, conversation_id)["unread"] == 3
    for seq, unread, expected in ((2, 2, ["read", "sent", "sent"]), (3, 1, ["read", "read", "sent"]),
                                  (2, 1, ["read", "read", "sent"]), (4, 0, ["read", "read", "read"])):
        marked(alice, conversation_id, seq)
        assert shown(alice, conversation_id)["unread"] == unread
        assert agent.conversations(user_id=alice.user)["data"][0]["unread"] == unread
        assert statuses(alice, conversation_id) == expected == statuses(agent, conversation_id)
    replied(agent, conversation_id, "three")
    assert shown(alice, conversation_id)["unread"] == 1 and statuses(alice, conversation_id)[-1] == "sent"


def test_an_agent_who_reads_changes_nothing_of_the_users(alice, agent, conversation_id):
    marked(agent, conversation_id, 2)
    assert shown(alice, conversation_id)["unread"] == 1 and statuses(alice, conversation_id) == ["sent"]


def test_nobody_reads_beyond_the_last_entry(alice, agent, conversation_id):
    check_problem(mark(alice, conversation_id, 3), 422, "validation_failed", "/seq")
    check_problem(mark(agent, conversation_id, 3), 422, "validation_failed", "/seq")
    note = replied(agent, conversation_id, "among us", visibility="internal")
    problem = check_problem(mark(alice, conversation_id, note["seq"]), 422, "validation_failed", "/seq")
    assert "2" in problem["errors"][0]["detail"], "the entry that the user may not see is not told of"
    marked(agent, conversation_id, note["seq"])
    assert shown(alice, conversation_id)["unread"] == 1


@pytest.mark.parametrize("body", ["[]", "5", "{}", '{"seq":null}', '{"seq":"2"}', '{"seq":-1}', '{"seq":1.5}',
                                  '{"seq":18446744073709551615}'])
def test_a_mark_that_makes_no_sense_is_refused(service, alice, conversation_id, body):
    response = alice.request("POST", f"/api/v2/chat/conversations/{conversation_id}/read", body.encode(),
                             headers={"Content-Type": "application/json"})
    check_problem(response, 422, "validation_failed")


def test_another_users_and_another_tenants_conversation_is_not_found(service, alice, bob, conversation_id):
    stranger = service.client(user=alice.user, tenant="acme")
    foreign = service.client(user=unique("agent"), tenant="acme", role="agent")
    for client in (bob, stranger, foreign):
        check_problem(mark(client, conversation_id, 1), 404, "not_found")
        check_problem(client.post(f"/api/v2/chat/conversations/{conversation_id}/typing", {}), 404, "not_found")
    for id in (UNKNOWN, "conv_x", "run_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"):
        check_problem(mark(alice, id, 1), 404, "not_found")
    check_problem(service.anonymous().post(f"/api/v2/chat/conversations/{conversation_id}/read", {"seq": 1}), 401)
    check_problem(alice.get(f"/api/v2/chat/conversations/{conversation_id}/read"), 405)
    assert shown(alice, conversation_id)["unread"] == 1


# --- Over sockets


def test_a_receipt_comes_to_everybody_who_follows_and_to_every_device(service, alice, agent, conversation_id):
    with service.chat(alice) as phone, service.chat(alice.twin()) as laptop, service.chat(agent) as helper:
        phone.subscribe(conversation_id)
        helper.subscribe(conversation_id)
        phone.send(type="read", conversation_id=conversation_id, seq=2)
        for socket in (phone, laptop, helper):
            assert socket.expect("receipt", user_id=alice.user, read_seq=2) == receipt(conversation_id, alice, 2)
        marked(agent, conversation_id, 2)
        for socket in (phone, laptop, helper):
            assert socket.expect("receipt", user_id=agent.user) == receipt(conversation_id, agent, 2)


def test_who_comes_later_is_told_where_everybody_is(service, alice, agent, conversation_id):
    marked(alice, conversation_id, 2)
    marked(agent, conversation_id, 1)
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        found = [helper.expect("receipt"), helper.expect("receipt")]
        assert sorted(found, key=lambda frame: frame["read_seq"]) == [
            receipt(conversation_id, agent, 1), receipt(conversation_id, alice, 2)]
        places = [frame["type"] for frame in helper.frames]
        assert places.index("subscribed") < places.index("receipt")


def test_a_stream_has_receipts_as_events_without_an_id(service, alice, agent, conversation_id):
    marked(alice, conversation_id, 1)
    with EventStream(service, agent, conversation_id) as stream:
        stream.open()
        stream.wait(lambda: any(event["event"] == "receipt" for event in stream.events))
        marked(alice, conversation_id, 2)
        stream.wait(lambda: len([event for event in stream.events if event["event"] == "receipt"]) == 2)
        events = [event for event in stream.events if event["event"] == "receipt"]
        assert all("id" not in event or event["id"] is None for event in events)


def test_what_makes_no_sense_on_a_socket_is_an_error(service, alice, bob, conversation_id):
    with service.chat(bob) as stranger, service.chat(alice) as own:
        stranger.send(type="read", id="r-1", conversation_id=conversation_id, seq=1)
        error = stranger.expect("error")
        assert error["id"] == "r-1" and error["problem"]["code"] == "not_found"
        for frame in ({"seq": 3}, {"seq": "1"}, {}, {"seq": 1, "conversation_id": 5}, {"seq": -1}):
            own.send(**{"type": "read", "conversation_id": conversation_id, **frame})
            assert own.expect("error")["problem"]["code"] == "validation_failed"
        own.settle()
        stranger.settle()
        assert stranger.seen("receipt") == [] and own.seen("receipt") == []


def test_no_receipt_tells_of_what_agents_say_among_themselves(service, alice, agent, conversation_id):
    marked(agent, conversation_id, 2)
    with service.chat(alice) as user:
        user.subscribe(conversation_id)
        user.expect("receipt", user_id=agent.user)
        note = replied(agent, conversation_id, "among us", visibility="internal")
        marked(agent, conversation_id, note["seq"])
        user.settle()
        assert [frame["read_seq"] for frame in user.seen("receipt", user_id=agent.user)] == [2]
        last = replied(agent, conversation_id, "aloud")
        marked(agent, conversation_id, last["seq"])
        user.expect("receipt", user_id=agent.user, read_seq=last["seq"])


def test_a_message_of_an_agent_is_delivered_when_the_user_is_there(service, alice, agent, conversation_id):
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        replied(agent, conversation_id, "nobody is there")
        with service.chat(alice) as user:
            user.subscribe(conversation_id)
            assert helper.expect("receipt", user_id=alice.user) == receipt(conversation_id, alice, 0, 3)
            message = replied(agent, conversation_id, "somebody is")
            assert helper.expect("receipt", user_id=alice.user) == receipt(conversation_id, alice, 0, message["seq"])
            assert statuses(agent, conversation_id) == ["delivered"] * 3
            user.send(type="read", conversation_id=conversation_id, seq=message["seq"])
            helper.expect("receipt", user_id=alice.user, read_seq=message["seq"])
            assert statuses(agent, conversation_id) == ["read"] * 3


def test_replays_say_how_far_each_message_has_come(service, alice, agent, conversation_id):
    marked(alice, conversation_id, 2)
    replied(agent, conversation_id, "later")
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        found = [entry["status"] for entry in helper.entries(conversation_id) if entry["direction"] == "outbound"]
        assert found == ["read", "sent"]


def test_a_flood_of_marks_ends_at_the_last(service, alice, agent, conversation_id):
    for number in range(20):
        replied(agent, conversation_id, f"number {number}")
    with service.chat(agent) as helper, service.chat(alice) as user:
        helper.subscribe(conversation_id)
        for _ in range(5):
            for seq in range(1, 23):
                user.send(type="read", conversation_id=conversation_id, seq=seq)
        helper.expect("receipt", user_id=alice.user, read_seq=22)
        user.settle()
        helper.settle()
        read = [frame["read_seq"] for frame in helper.seen("receipt", user_id=alice.user)]
        assert read == sorted(set(read)), "a receipt is told once and never goes back"


# --- Typing


def test_typing_over_http_reaches_the_others(service, alice, agent, conversation_id):
    target = f"/api/v2/chat/conversations/{conversation_id}/typing"
    with service.chat(agent) as helper, service.chat(alice) as own:
        helper.subscribe(conversation_id)
        for body, state in ((None, "start"), ({}, "start"), ({"state": "stop"}, "stop"), ({"state": "start"}, "start")):
            response = alice.post(target, body) if body is not None else alice.request("POST", target)
            assert response.status == 204, repr(response)
            frame = helper.expect("typing")
            assert frame["state"] == state and frame["sender"] == {"type": "user", "id": alice.user}
        assert agent.post(target, {"state": "start"}).status == 204
        assert own.expect("typing")["sender"] == {"type": "agent", "id": agent.user}
        own.settle()
        assert len(own.seen("typing")) == 1, "nobody is told that they type themselves"
    check_problem(alice.post(target, {"state": "maybe"}), 422, "validation_failed", "/state")
    check_problem(alice.post(target, ["start"]), 422, "validation_failed")


def test_a_socket_that_goes_away_has_stopped_to_type(service, alice, agent, conversation_id):
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        user = service.chat(alice)
        user.subscribe(conversation_id)
        user.send(type="typing", conversation_id=conversation_id, state="start")
        helper.expect("typing", state="start")
        user.drop()
        helper.expect("typing", state="stop")


# --- Restart and crash


def test_cursors_outlive_a_restart(launch):
    service = launch()
    alice, agent = service.client(), service.client(user="kim", role="agent")
    conversation_id = alice.say("Hello")["conversation_id"]
    marked(alice, conversation_id, 2)
    service.restart()
    assert shown(alice, conversation_id)["unread"] == 0 and statuses(alice, conversation_id) == ["read"]
    with service.chat(agent) as helper:
        helper.subscribe(conversation_id)
        assert helper.expect("receipt") == receipt(conversation_id, alice, 2)
        marked(alice, conversation_id, 1)
        helper.settle()
        assert len(helper.seen("receipt")) == 1


@pytest.mark.crash
def test_a_mark_that_was_answered_outlives_a_crash(launch):
    service = launch()
    alice, agent = service.client(), service.client(user="kim", role="agent")
    conversation_id = alice.say("Hello")["conversation_id"]
    for round in range(3):
        for number in range(20):
            replied(agent, conversation_id, f"{round} {number}")
        head = shown(alice, conversation_id)["last_seq"]
        answered = [0]

        def read():
            client = alice.twin()
            for seq in range(head - 19, head + 1):
                try:
                    if mark(client, conversation_id, seq, retry=False).status == 204:
                        answered[0] = seq
                except Exception:
                    return

        thread = threading.Thread(target=read)
        thread.start()
        eventually(lambda: answered[0] > 0, what="a mark that is answered")
        service.kill()
        thread.join()
        service.start()
        alice.close()
        agent.close()
        for entry in alice.log(conversation_id):
            if entry["direction"] == "outbound" and entry["seq"] <= answered[0]:
                assert entry["status"] == "read", entry
