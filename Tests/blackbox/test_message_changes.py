"""Edits, deletions and reactions: who may, what the log holds of them, and what every reader is shown afterwards."""

import threading
import time

import pytest

from conftest import apart_from_status, check_message, check_problem, unique
from test_agent_messages import replied
from test_events import EventStream

UNKNOWN = "msg_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"
REDACTED = {"type": "event", "name": "redacted", "data": {}}


def path(message, tail=""):
    return f"/api/v2/chat/conversations/{message['conversation_id']}/messages/{message['id']}{tail}"


def edit(client, message, text="Corrected", content=None, headers=None):
    return client.request("PATCH", path(message), {"content": content or {"type": "text", "text": text}}, headers=headers)


def delete(client, message):
    return client.request("DELETE", path(message))


def react(client, message, emoji="👍", headers=None):
    return client.post(path(message, "/reactions"), {"emoji": emoji}, headers=headers)


def edited(client, message, text="Corrected", **options):
    response = edit(client, message, text, **options)
    assert response.status == 200, repr(response)
    return check_message(response.json)


def deleted(client, message):
    response = delete(client, message)
    assert response.status == 204 and response.body == b"", repr(response)


def reacted(client, message, emoji="👍", **options):
    response = react(client, message, emoji, **options)
    assert response.status == 201, repr(response)
    return response.json


def check_entry(entry, kind, message, sender):
    """The envelope of a message, with another kind."""
    check_message({**entry, "kind": "message"})
    assert entry["kind"] == kind and entry["reply_to"] == message["id"] and entry["metadata"] == {}
    assert entry["conversation_id"] == message["conversation_id"] and entry["sender"] == sender
    assert entry["visibility"] == message["visibility"]
    return entry


def user(client):
    return {"type": "user", "id": client.user}


def kim(client):
    return {"type": "agent", "id": client.user}


def pages(client, conversation_id):
    """The log, read in every way that there is over HTTP: entries by seq, one list for each way."""
    ways = [client.conversation(conversation_id, order=order, limit=200)["data"] for order in ("asc", "desc")]
    for order in ("asc", "desc"):
        page = client.conversation(conversation_id, order=order, limit=1)
        found = page["data"]
        while page["page"]["has_more"]:
            page = client.conversation(conversation_id, cursor=page["page"]["next_cursor"], limit=1)
            found = found + page["data"]
        ways.append(found)
        back = []
        while page["page"]["prev_cursor"] and page["data"]:
            back = page["data"] + back
            page = client.conversation(conversation_id, cursor=page["page"]["prev_cursor"], limit=1)
        ways.append(page["data"] + back)
    return [sorted(way, key=lambda entry: entry["seq"]) for way in ways]


def everywhere(service, client, conversation_id):
    """What each reader shows, as lists by seq: history both ways, a socket's replay, an event stream, a poll."""
    found = pages(client, conversation_id)
    with service.chat(client) as socket:
        socket.subscribe(conversation_id)
        found.append(socket.entries(conversation_id))
    with EventStream(service, client, conversation_id) as stream:
        stream.open()
        while len(stream.events) < len(found[0]):
            assert stream._more()
        found.append([event["json"]["message"] for event in stream.events])
    response = client.get(f"/api/v2/chat/conversations/{conversation_id}", query={"after_seq": 0, "limit": 200},
                          headers={"Prefer": "wait=5"})
    found.append(response.json["data"])
    shown = [apart_from_status(way) for way in found]
    assert all(way == shown[0] for way in shown), "every reader shows the same"
    return found[0]


@pytest.fixture
def message(alice):
    return alice.say("Hello wrold", metadata={"secret": 1}, client_message_id="c-1")["message"]


# Edits


def test_an_edit_is_an_entry_and_the_message_is_shown_with_its_last_content(service, alice, agent, message):
    with service.chat(alice) as socket, service.chat(agent) as desk:
        for device in (socket, desk):
            device.subscribe(message["conversation_id"])
        answer = edited(alice, message, "Hello world")
        assert {**answer, "edited_at": 0} == {**message, "content": {"type": "text", "text": "Hello world"}, "edited_at": 0}
        last = edited(alice, message, "Hello, world")
        for device in (socket, desk):
            first, second = (device.expect("message", where=lambda frame: frame["message"]["kind"] == "edit")["message"] for _ in "12")
            check_entry(first, "edit", message, user(alice))
            assert (first["seq"], second["seq"]) == (message["seq"] + 2, message["seq"] + 3)
            assert [entry["content"]["text"] for entry in (first, second)] == ["Hello world", "Hello, world"]
    assert last["edited_at"] == second["created_at"] and last["content"]["text"] == "Hello, world"
    for client in (alice, agent):
        shown = everywhere(service, client, message["conversation_id"])
        assert shown[message["seq"] - 1] == last and shown[-2:] == [first, second]
        assert "wrold" not in repr(shown)


def test_a_page_shows_the_edit_of_a_message_wherever_that_stands(alice, message):
    for number in range(5):
        alice.say(f"message {number}")
    last = edited(alice, message, "First")
    entries = alice.log(message["conversation_id"])
    assert entries[0] == last
    for before in range(2, len(entries)):
        assert alice.conversation(message["conversation_id"], before_seq=before, limit=1)["data"] == [last]
    assert alice.conversation(message["conversation_id"], after_seq=len(entries) - 1)["data"] == entries[-1:]


def test_other_kinds_of_content_may_come_with_an_edit(alice, message):
    content = {"type": "image", "url": "https://example.com/a.png", "mime_type": "image/png", "caption": "},\"metadata\":{\\"}
    assert edited(alice, message, content=content)["content"] == content
    assert alice.log(message["conversation_id"])[0]["content"] == content


def test_the_same_content_again_is_no_entry(alice, message):
    edited(alice, message, "Better")
    head = alice.conversation(message["conversation_id"])["conversation"]["last_seq"]
    assert edited(alice, message, "Better") == alice.log(message["conversation_id"])[0]
    other = alice.say("Unchanged")["message"]
    assert edited(alice, other, "Unchanged") == other, "what says so already is not edited"
    assert alice.conversation(message["conversation_id"])["conversation"]["last_seq"] == head + 2


def test_an_agent_edits_only_what_it_said(service, alice, agent, message):
    said = replied(agent, message["conversation_id"], "My naem is Kim")
    answer = edited(agent, said, "My name is Kim")
    assert answer["sender"] == kim(agent) and answer["direction"] == "outbound"
    check_entry(agent.log(message["conversation_id"])[-1], "edit", said, kim(agent))
    check_problem(edit(agent, message), 403, "forbidden")
    check_problem(edit(service.client("eve", role="agent"), said), 403, "forbidden")
    check_problem(edit(alice, said), 403, "forbidden")


def test_nobody_edits_what_the_bot_said(service, alice, agent):
    reply = alice.say("Hello")["reply"]
    check_problem(edit(alice, reply), 403, "forbidden")
    check_problem(edit(agent, reply), 403, "forbidden")
    # A guest may have any name that is free.
    builtin = service.client("builtin")
    own = builtin.say("Hello")
    check_problem(edit(builtin, own["reply"]), 403, "forbidden")
    check_problem(delete(builtin, own["reply"]), 403, "forbidden")
    edited(builtin, own["message"])


@pytest.mark.parametrize("body, pointer", [
    ({}, "/content"), ([], ""), ({"content": "x"}, "/content"), ({"content": {"type": "text", "text": ""}}, "/content/text"),
    ({"content": {"type": "text", "text": "x" * 10001}}, "/content/text"), ({"content": {"type": "smoke"}}, "/content/type"),
    ({"content": {"type": "event", "name": "redacted"}}, "/content/type"),
    ({"content": {"type": "reaction", "message_id": UNKNOWN, "emoji": "x"}}, "/content/type"),
])
def test_an_edit_that_is_not_valid_is_422_with_a_pointer(alice, message, body, pointer):
    check_problem(alice.request("PATCH", path(message), body), 422, "validation_failed", pointer)
    assert alice.log(message["conversation_id"])[0] == message


# Deletions


def test_a_deleted_message_keeps_its_place_and_loses_what_it_said(service, alice, agent, message):
    edited(alice, message, "Also secret")
    with service.chat(alice) as socket:
        socket.subscribe(message["conversation_id"], after_seq=4 - 1)
        deleted(alice, message)
        frame = socket.expect("message", where=lambda frame: frame["message"]["kind"] == "redaction")
    entry = check_entry(frame["message"], "redaction", message, user(alice))
    assert entry["content"] == {"type": "event", "name": "redaction", "data": {"message_id": message["id"]}}
    for client in (alice, agent):
        shown = everywhere(service, client, message["conversation_id"])
        assert [each["seq"] for each in shown] == list(range(1, len(shown) + 1))
        assert shown[0] == {**message, "content": REDACTED, "metadata": {}}
        edit_entry = next(each for each in shown if each["kind"] == "edit")
        assert edit_entry["content"] == REDACTED and shown[-1] == entry
        assert "secret" not in repr(shown) and "wrold" not in repr(shown[:1])
        # The edit on a page of its own, far from its message.
        alone = client.conversation(message["conversation_id"], after_seq=edit_entry["seq"] - 1, limit=1)["data"]
        assert alone == [edit_entry]


def test_deleting_again_is_204_and_no_entry(alice, agent, message):
    deleted(alice, message)
    head = alice.conversation(message["conversation_id"])["conversation"]["last_seq"]
    for client in (alice, agent, alice):
        deleted(client, message)
    assert alice.conversation(message["conversation_id"])["conversation"]["last_seq"] == head


def test_a_deleted_message_stays_deleted(alice, message):
    deleted(alice, message)
    check_problem(edit(alice, message), 409, "conflict")
    check_problem(react(alice, message), 409, "conflict")
    assert alice.log(message["conversation_id"])[0]["content"] == REDACTED


def test_an_agent_deletes_any_message_and_a_user_its_own(alice, agent, backend):
    answer = alice.say("Hello")
    said = replied(agent, answer["conversation_id"], "From Kim")
    for each in (answer["reply"], said):
        check_problem(delete(alice, each), 403, "forbidden")
    deleted(agent, answer["reply"])
    deleted(backend, said)
    deleted(agent, answer["message"])
    shown = alice.log(answer["conversation_id"])
    assert [entry["content"] for entry in shown if entry["kind"] == "message"] == [REDACTED] * 3
    assert [entry["sender"]["type"] for entry in shown if entry["kind"] == "redaction"] == ["agent"] * 3


def test_edits_and_deletions_at_once_never_show_what_was_deleted(service, alice):
    for _ in range(5):
        message = alice.say("Once")["message"]
        with service.chat(alice) as socket:
            socket.subscribe(message["conversation_id"], after_seq=message["seq"])
            twins = [alice.twin() for _ in range(5)]
            threads = [threading.Thread(target=edit, args=(twin, message, f"edit {number}"))
                       for number, twin in enumerate(twins[:4])]
            threads.append(threading.Thread(target=delete, args=(twins[4], message)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            socket.settle()
            kinds = [entry["kind"] for entry in socket.entries(message["conversation_id"]) if entry.get("reply_to") == message["id"]]
            # The bot's answer refers to the message too.
            kinds = [kind for kind in kinds if kind != "message"]
        assert kinds.count("redaction") == 1 and kinds[-1] == "redaction", "no edit comes behind the deletion"
        entries = alice.log(message["conversation_id"])
        assert entries[message["seq"] - 1]["content"] == REDACTED
        assert "edit " not in repr([entry["content"] for entry in entries])


# Reactions


def test_everybody_who_sees_a_message_may_react(service, alice, agent, message):
    reply = alice.log(message["conversation_id"])[1]
    with service.chat(alice) as socket:
        socket.subscribe(message["conversation_id"], after_seq=2)
        for client, sender in ((alice, user(alice)), (agent, kim(agent))):
            for target in (message, reply):
                entry = check_entry(reacted(client, target, "🎉"), "reaction", target, sender)
                assert entry["content"] == {"type": "reaction", "message_id": target["id"], "emoji": "🎉"}
                assert socket.expect("message", where=lambda frame: frame["message"]["id"] == entry["id"])["message"] == entry
    shown = everywhere(service, alice, message["conversation_id"])
    assert shown[0] == message and [entry["kind"] for entry in shown[2:]] == ["reaction"] * 4


def test_the_same_emoji_again_is_no_entry_and_another_takes_its_place(alice, agent, message):
    first = reacted(alice, message, "👍")
    again = react(alice, message, "👍")
    assert again.status == 200 and again.json == first
    reacted(agent, message, "👍")
    second = reacted(alice, message, "👎")
    assert second["seq"] == first["seq"] + 2
    back = reacted(alice, message, "")
    assert back["content"]["emoji"] == ""
    again = react(alice, message, "")
    assert again.status == 200 and again.json == back
    assert react(alice.twin(), alice.log(message["conversation_id"])[1], "").status == 204, "there was none to take back"
    reacted(alice, message, "👍")


def test_a_reaction_to_a_deleted_message_can_be_taken_back(alice, message):
    reacted(alice, message, "👍")
    deleted(alice, message)
    assert reacted(alice, message, "")["content"]["emoji"] == ""


@pytest.mark.parametrize("body", [{}, {"emoji": None}, {"emoji": 1}, {"emoji": "a" * 65}, {"emoji": "é" * 33},
                                  {"emoji": "\n"}, {"emoji": "\u007f"}, {"emoji": "a\u0085"}])
def test_an_emoji_has_at_most_64_bytes_and_no_control_characters(alice, message, body):
    check_problem(alice.post(path(message, "/reactions"), body), 422, "validation_failed", "/emoji")


def test_an_emoji_may_have_64_bytes(alice, message):
    for emoji in ("a" * 64, "é" * 32, "👩‍👩‍👧‍👦", "\"\\"):
        assert reacted(alice, message, emoji)["content"]["emoji"] == emoji


# Repetitions


def test_the_same_key_is_the_same_edit(alice, message):
    headers = {"Idempotency-Key": unique("k")}
    first = edit(alice, message, "Once", headers=headers)
    again = edit(alice, message, "Once", headers=headers)
    assert first.status == again.status == 200 and first.json == again.json
    assert again.header("Idempotency-Replayed") == "true" and not first.header("Idempotency-Replayed")
    last = edited(alice, message, "Twice")
    late = edit(alice, message, "Once", headers=headers)
    assert late.status == 200 and late.json == last, "the message as it is now"
    assert late.header("Idempotency-Replayed") == "true"
    check_problem(edit(alice, message, "Thrice", headers=headers), 422, "idempotency_mismatch")
    other = alice.say("Other")["message"]
    check_problem(edit(alice, other, "Once", headers=headers), 422, "idempotency_mismatch")
    assert [entry["kind"] for entry in alice.log(message["conversation_id"])].count("edit") == 2


def test_the_same_key_is_the_same_reaction(alice, message):
    headers = {"Idempotency-Key": unique("k")}
    first = react(alice, message, "👍", headers=headers)
    again = react(alice, message, "👍", headers=headers)
    assert (first.status, again.status) == (201, 201) and first.json == again.json
    assert again.header("Idempotency-Replayed") == "true"
    reacted(alice, message, "👎")
    late = react(alice, message, "👍", headers=headers)
    assert (late.status, late.json) == (201, first.json)
    check_problem(react(alice, message, "🎉", headers=headers), 422, "idempotency_mismatch")
    check_problem(edit(alice, message, "x", headers=headers), 422, "idempotency_mismatch")
    assert alice.say("A message's key is another", headers=headers)["status"] == "answered"


# Who sees what


def test_what_is_about_a_note_is_a_note(service, alice, agent, message):
    note = replied(agent, message["conversation_id"], "Careful", visibility="internal")
    before = everywhere(service, alice, message["conversation_id"])
    for response in (edit(alice, note), delete(alice, note), react(alice, note)):
        check_problem(response, 404, "not_found")
    with service.chat(alice) as socket, service.chat(agent) as desk:
        for device in (socket, desk):
            device.subscribe(message["conversation_id"])
        edited(agent, note, "Very careful")
        reacted(agent, note, "👀")
        deleted(agent, note)
        reacted(agent, message, "👍")
        for device in (socket, desk):
            device.expect("message", where=lambda frame: frame["message"]["content"].get("emoji") == "👍")
        assert "areful" not in repr(socket.frames) and "👀" not in repr(socket.frames)
        assert [entry["kind"] for entry in desk.entries(message["conversation_id"])][-4:] == ["edit", "reaction", "redaction", "reaction"]
    shown = everywhere(service, alice, message["conversation_id"])
    assert apart_from_status(shown[:-1]) == apart_from_status(before) and shown[-1]["kind"] == "reaction"
    whole = agent.log(message["conversation_id"])
    assert [entry["visibility"] for entry in whole[2:]] == ["internal"] * 4 + ["public"]
    assert whole[2]["content"] == whole[3]["content"] == REDACTED


def test_what_is_not_there_is_404_for_everybody(service, alice, bob, agent, message):
    foreign = service.client(alice.user, tenant="acme")
    foreign_agent = service.client("kim", tenant="acme", role="agent")
    elsewhere = {**message, "conversation_id": bob.say("Mine")["conversation_id"]}
    unknown = {**message, "id": UNKNOWN}
    nonsense = {**message, "id": "nonsense"}
    reaction = reacted(alice, message)
    for client, target in ((bob, message), (foreign, message), (foreign_agent, message), (bob, elsewhere), (agent, elsewhere),
                           (alice, unknown), (alice, nonsense), (alice, reaction), (agent, reaction)):
        for response in (edit(client, target), delete(client, target), react(client, target)):
            check_problem(response, 404, "not_found")
    assert [entry["kind"] for entry in alice.log(message["conversation_id"])] == ["message", "message", "reaction"]


def test_a_credential_is_needed_and_other_methods_are_refused(service, alice, message):
    for response in (edit(service.anonymous(), message), delete(service.anonymous(), message), react(service.anonymous(), message)):
        check_problem(response, 401)
    check_problem(delete(service.client(role="ops"), message), 403, "forbidden")
    for method, tail in (("GET", ""), ("PUT", ""), ("POST", ""), ("GET", "/reactions"), ("DELETE", "/reactions")):
        response = alice.request(method, path(message, tail), {} if method in ("PUT", "POST") else None)
        check_problem(response, 405, "method_not_allowed")
        assert "OPTIONS" in response.header("Allow")
    assert alice.request("PATCH", path(message)).status == 415


def test_a_change_ends_the_wait_of_a_poll(alice, agent, message):
    last = alice.conversation(message["conversation_id"])["conversation"]["last_seq"]
    timer = threading.Timer(0.3, lambda: react(agent, message))
    timer.start()
    began = time.monotonic()
    response = alice.get(f"/api/v2/chat/conversations/{message['conversation_id']}", query={"after_seq": last},
                         headers={"Prefer": "wait=10"})
    timer.join()
    assert [entry["kind"] for entry in response.json["data"]] == ["reaction"] and time.monotonic() - began < 5


# A long conversation, a restart, a crash


def test_messages_are_found_wherever_they_stand_and_a_restart_changes_nothing(launch):
    service = launch(REACTOR_THREADS="2")
    ann, agent = service.client("ann"), service.client("kim", role="agent")
    conversation_id = ann.handed_to_human()
    with service.chat(ann) as socket:
        for number in range(1, 400):
            socket.send(type="message", id=f"c-{number}", content={"type": "text", "text": f"number {number}"})
        for number in range(1, 400):
            socket.expect("ack", id=f"c-{number}", timeout=30)
    messages = [entry for entry in ann.log(conversation_id) if entry["direction"] == "inbound"]
    chosen = messages[::37] + messages[-1:]
    for number, message in enumerate(chosen):
        reacted(agent, message)
        (deleted if number % 3 == 0 else edited)(ann, message)
    wanted = agent.log(conversation_id)
    assert sum(entry["content"] == REDACTED for entry in wanted) == len(chosen[::3])
    for stop in (service.stop, service.kill):
        stop()
        service.restart()
        ann, agent = service.client("ann"), service.client("kim", role="agent")
        assert agent.log(conversation_id) == wanted
        for number, message in enumerate(chosen):
            assert react(agent, message).status == (409 if number % 3 == 0 else 200)
            assert edit(ann, message).status == (409 if number % 3 == 0 else 200)
        assert agent.log(conversation_id) == wanted, "nothing was new"
    for message in messages[5::50]:
        edited(ann, message, "After the restart")
    shown = {entry["id"]: entry for entry in ann.log(conversation_id)}
    assert all(shown[message["id"]]["content"].get("text") == "After the restart" for message in messages[5::50])


@pytest.mark.crash
def test_what_was_answered_outlives_a_crash(launch):
    service = launch()
    for number in range(5):
        ann, agent = service.client(f"ann{number}"), service.client("kim", role="agent")
        first, second, third = (ann.say(text)["message"] for text in ("one", "two", "three"))
        edited(ann, first, "changed")
        deleted(ann, second)
        reaction = reacted(agent, third)
        service.kill()
        service.restart()
        for client in (service.client(f"ann{number}"), service.client("kim", role="agent")):
            shown = {entry["id"]: entry for entry in client.log(first["conversation_id"])}
            assert shown[first["id"]]["content"]["text"] == "changed" and "edited_at" in shown[first["id"]]
            assert shown[second["id"]]["content"] == REDACTED
            assert shown[reaction["id"]] == reaction
        check_problem(edit(service.client(f"ann{number}"), second), 409, "conflict")
