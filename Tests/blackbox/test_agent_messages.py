"""What agents say: to the user, and among themselves, which no end user ever sees."""

import threading
import time

import pytest

from conftest import check_message, check_problem, texts, unique

UNKNOWN = "conv_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"


def reply(client, conversation_id, text="Here is Kim", headers=None, **fields):
    body = {"content": {"type": "text", "text": text}, **fields}
    return client.post(f"/api/v2/chat/conversations/{conversation_id}/messages", body, headers=headers)


def replied(client, conversation_id, text="Here is Kim", **options):
    response = reply(client, conversation_id, text, **options)
    assert response.status == 201, repr(response)
    return check_message(response.json)


def seen(client, conversation_id, **query):
    return client.conversation(conversation_id, **query)["data"]


@pytest.fixture
def conversation_id(alice):
    return alice.say("Hello")["conversation_id"]


def test_an_agents_reply_is_an_outbound_message_that_everybody_sees(service, alice, agent, conversation_id):
    with service.chat(alice) as socket:
        socket.subscribe(conversation_id)
        message = replied(agent, conversation_id, client_message_id="a-1", metadata={"a": 1})
        assert message["direction"] == "outbound" and message["visibility"] == "public"
        assert message["sender"] == {"type": "agent", "id": agent.user}
        assert message["channel"] == "web" and message["metadata"] == {"a": 1} and message["client_message_id"] == "a-1"
        assert socket.expect_message(text="Here is Kim") == message
    assert message["status"] == "sent" and seen(agent, conversation_id)[-1]["status"] == "delivered"
    message["status"] = "delivered"
    assert seen(alice, conversation_id)[-1] == message == seen(agent, conversation_id)[-1]
    shown = alice.conversation(conversation_id)["conversation"]
    assert shown["unread"] == 2 and shown["last_seq"] == message["seq"]


def test_a_reply_leaves_handler_and_status_as_they_are(alice, agent, conversation_id):
    before = alice.conversation(conversation_id)["conversation"]
    replied(agent, conversation_id)
    after = alice.conversation(conversation_id)["conversation"]
    assert (after["handler"], after["status"], after["version"]) == (before["handler"], before["status"], before["version"])
    assert alice.post_message("Still the bot?").status == 200


def test_what_is_internal_is_in_no_history_of_the_user(alice, agent, conversation_id):
    note = replied(agent, conversation_id, "secret one", visibility="internal")
    assert note["visibility"] == "internal"
    replied(agent, conversation_id, "said aloud")
    last = replied(agent, conversation_id, "secret two", visibility="internal")
    assert [entry["visibility"] for entry in agent.log(conversation_id)][-3:] == ["internal", "public", "internal"]
    for query in ({}, {"order": "desc"}, {"limit": 1, "after_seq": note["seq"] - 1}, {"before_seq": last["seq"] + 1},
                  {"order": "desc", "limit": 2}):
        page = alice.conversation(conversation_id, **query)
        assert "secret" not in repr(page), query
    assert [entry["seq"] for entry in seen(alice, conversation_id)] == [1, 2, note["seq"] + 1]
    shown = alice.conversation(conversation_id)["conversation"]
    assert shown["unread"] == 2 and shown["last_seq"] == last["seq"]
    assert "secret" not in repr(alice.conversations())


def test_pages_with_what_is_hidden_come_to_an_end_both_ways(alice, agent, conversation_id):
    for number in range(12):
        replied(agent, conversation_id, f"note {number}", visibility="internal" if number % 3 else "public")
    for client, count in ((alice, 6), (agent, 14)):
        for order in ("asc", "desc"):
            page = client.conversation(conversation_id, order=order, limit=2)
            found, pages = list(page["data"]), 0
            while page["page"]["has_more"]:
                page = client.conversation(conversation_id, cursor=page["page"]["next_cursor"], limit=2)
                found += page["data"]
                pages += 1
                assert pages < 20
            seqs = [entry["seq"] for entry in found]
            assert len(seqs) == count and seqs == sorted(seqs, reverse=order == "desc")


def test_a_users_socket_passes_over_what_is_internal(service, alice, agent, conversation_id):
    with service.chat(alice) as quiet, service.chat(alice) as socket, service.chat(agent) as desk:
        socket.subscribe(conversation_id)
        desk.subscribe(conversation_id)
        for number in range(3):
            replied(agent, conversation_id, f"secret {number}", visibility="internal")
            replied(agent, conversation_id, f"aloud {number}")
        for number in range(3):
            desk.expect_message(text=f"secret {number}")
            desk.expect_message(text=f"aloud {number}")
        for device in (socket, quiet):
            for number in range(3):
                device.expect_message(text=f"aloud {number}")
            device.settle()
            assert "secret" not in repr(device.frames) and not device.seen("gap")
            assert len([text for text in texts(device.entries(conversation_id)) if text.startswith("aloud")]) == 3


def test_a_replay_leaves_out_what_is_internal_and_ends_at_the_head(service, alice, agent, conversation_id):
    replied(agent, conversation_id, "secret", visibility="internal")
    replied(agent, conversation_id, "aloud")
    last = replied(agent, conversation_id, "secret too", visibility="internal")
    with service.chat(alice) as socket:
        for after in (0, 2, 3, 4, last["seq"]):
            frame = socket.subscribe(conversation_id, after_seq=after)
            assert frame["last_seq"] == last["seq"]
        assert "secret" not in repr(socket.frames) and not socket.seen("gap")
        replied(agent, conversation_id, "goes on")
        socket.expect_message(text="goes on")
    with service.chat(agent) as desk:
        desk.subscribe(conversation_id)
        assert [entry["seq"] for entry in desk.entries(conversation_id)] == list(range(1, last["seq"] + 2))


@pytest.mark.parametrize("by_header", [True, False])
def test_the_same_key_is_the_same_message(alice, agent, conversation_id, by_header):
    key = unique("k")
    options = {"headers": {"Idempotency-Key": key}} if by_header else {"client_message_id": key}
    first = reply(agent, conversation_id, "once", **options)
    again = reply(agent, conversation_id, "once", **options)
    assert (first.status, again.status) == (201, 201) and first.json == again.json
    assert again.header("Idempotency-Replayed") == "true" and not first.header("Idempotency-Replayed")
    check_problem(reply(agent, conversation_id, "twice", **options), 422, "idempotency_mismatch")
    check_problem(reply(agent, conversation_id, "once", visibility="internal", **options), 422, "idempotency_mismatch")
    other = alice.say("Elsewhere", channel="sms")["conversation_id"]
    check_problem(reply(agent, other, "once", **options), 422, "idempotency_mismatch")
    assert texts(agent.log(conversation_id)).count("once") == 1


def test_a_users_key_and_an_agents_key_do_not_meet(service, conversation_id):
    both = service.client(user=unique("kim"), role="agent")
    message = both.say("As a user", client_message_id="k")
    assert replied(both, message["conversation_id"], "As an agent", client_message_id="k")["sender"]["type"] == "agent"


@pytest.mark.parametrize("body, pointer", [
    ({}, "/content"), ({"content": {"type": "text", "text": ""}}, "/content/text"),
    ({"content": {"type": "smoke"}}, "/content/type"),
    ({"content": {"type": "text", "text": "x"}, "visibility": "secret"}, "/visibility"),
    ({"content": {"type": "text", "text": "x"}, "visibility": 1}, "/visibility"),
    ({"content": {"type": "text", "text": "x"}, "reply_to": "x"}, "/reply_to"),
    ({"content": {"type": "text", "text": "x"}, "client_message_id": ""}, "/client_message_id"),
    ({"content": {"type": "text", "text": "x"}, "metadata": []}, "/metadata"), ([], ""),
])
def test_what_is_not_valid_is_422_with_a_pointer(agent, conversation_id, body, pointer):
    response = agent.post(f"/api/v2/chat/conversations/{conversation_id}/messages", body)
    check_problem(response, 422, "validation_failed", pointer)


def test_only_agents_reply_and_others_conversations_do_not_exist(service, alice, agent, backend, conversation_id):
    check_problem(reply(alice, conversation_id), 403, "forbidden")
    check_problem(reply(service.client("kim", tenant="acme", role="agent"), conversation_id), 404, "not_found")
    check_problem(reply(agent, UNKNOWN), 404, "not_found")
    check_problem(reply(agent, "nonsense"), 404, "not_found")
    check_problem(reply(service.anonymous(), conversation_id), 401)
    assert replied(backend, conversation_id)["sender"] == {"type": "agent", "id": "backend"}
    response = agent.get(f"/api/v2/chat/conversations/{conversation_id}/messages")
    check_problem(response, 405, "method_not_allowed")


def test_what_is_internal_stays_so_over_a_crash(launch):
    service = launch()
    agent, user = service.client("kim", role="agent"), service.client("ann")
    conversation_id = user.say("Hello")["conversation_id"]
    note = replied(agent, conversation_id, "secret", visibility="internal")
    for _ in range(2):
        service.kill()
        service.restart()
        assert service.client("kim", role="agent").log(conversation_id)[-1] == note
        assert "secret" not in repr(service.client("ann").conversation(conversation_id))


# Long polling


def wait_for(client, conversation_id, after, seconds):
    began = time.monotonic()
    response = client.get(
        f"/api/v2/chat/conversations/{conversation_id}", query={"after_seq": after}, headers={"Prefer": f"wait={seconds}"}
    )
    assert response.status == 200, repr(response)
    return response.json["data"], time.monotonic() - began


def test_a_note_that_is_there_does_not_end_the_users_wait(alice, agent, conversation_id):
    note = replied(agent, conversation_id, "Careful", visibility="internal")
    entries, seconds = wait_for(alice, conversation_id, note["seq"] - 1, 1)
    assert entries == [] and seconds > 0.9
    entries, seconds = wait_for(agent, conversation_id, note["seq"] - 1, 10)
    assert entries == [note] and seconds < 5


def test_behind_a_note_that_is_there_the_user_still_waits_for_what_is_public(alice, agent, conversation_id):
    note = replied(agent, conversation_id, "Careful", visibility="internal")
    public = []
    timer = threading.Timer(0.4, lambda: public.append(replied(agent, conversation_id, "Here I am")))
    timer.start()
    entries, seconds = wait_for(alice, conversation_id, note["seq"] - 1, 10)
    timer.join()
    assert entries == public and 0.2 < seconds < 5


def test_a_note_that_comes_does_not_end_the_users_wait(alice, agent, conversation_id):
    last = alice.conversation(conversation_id)["conversation"]["last_seq"]
    timer = threading.Timer(0.3, lambda: replied(agent, conversation_id, "Careful", visibility="internal"))
    timer.start()
    entries, seconds = wait_for(alice, conversation_id, last, 1)
    timer.join()
    assert entries == [] and seconds > 0.9


def test_what_is_public_before_a_note_is_answered_at_once(alice, agent, conversation_id):
    message = replied(agent, conversation_id, "Here I am")
    replied(agent, conversation_id, "Careful", visibility="internal")
    entries, seconds = wait_for(alice, conversation_id, message["seq"] - 1, 10)
    assert entries == [message] and seconds < 5
