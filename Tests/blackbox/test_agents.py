"""What agents do to a conversation: PATCH, its conditions, its entries, and who may not."""

import threading

import pytest

from conftest import check_conversation, check_problem, eventually

UNKNOWN = "conv_0192a3b4-c5d6-7e8f-9a0b-1c2d3e4f5061"


def patch(client, conversation_id, body, **headers):
    return client.request("PATCH", f"/api/v2/chat/conversations/{conversation_id}", body, headers=headers)


def patched(client, conversation_id, body, **headers):
    response = patch(client, conversation_id, body, **headers)
    assert response.status == 200, repr(response)
    conversation = check_conversation(response.json)
    assert response.header("ETag") == f'"{conversation["version"]}"', response
    return conversation


@pytest.fixture
def conversation_id(alice):
    return alice.say("Hello")["conversation_id"]


def test_a_patch_changes_every_field_and_is_shown_everywhere(alice, agent, conversation_id):
    before = alice.conversation(conversation_id)["conversation"]
    changed = patched(agent, conversation_id, {
        "status": "pending", "assignee": "kim", "labels": ["vip", "billing", "vip"], "priority": "high",
        "handler": {"type": "human", "id": "kim"}, "attributes": {"order": 7, "nested": {"a": [1, None]}}})
    assert changed["status"] == "pending" and changed["assignee"] == "kim"
    assert changed["labels"] == ["vip", "billing"] and changed["priority"] == "high"
    assert changed["attributes"] == {"order": 7, "nested": {"a": [1, None]}}
    assert changed["handler"] == {"type": "human", "id": "kim", "token": before["handler"]["token"] + 1}
    assert changed["version"] == before["version"] + 1
    shown = agent.conversation(conversation_id)["conversation"]
    assert shown == changed
    listed = [row for row in agent.conversations(user_id=alice.user)["data"] if row["id"] == conversation_id]
    assert listed == [changed]
    entries = alice.log(conversation_id)[before["last_seq"]:]
    assert [(entry["kind"], entry["content"]["name"]) for entry in entries] == [
        ("handler", "handler"), ("status", "status"), ("assignment", "assignment"), ("label", "label"),
        ("status", "priority"), ("label", "attributes")]
    for entry in entries:
        assert entry["sender"] == {"type": "agent", "id": agent.user} and entry["direction"] == "outbound", entry
    assert entries[3]["content"]["data"] == {"labels": ["vip", "billing"]}
    assert changed["last_seq"] == entries[-1]["seq"]


def test_null_clears_and_what_is_not_named_stays(agent, conversation_id):
    patched(agent, conversation_id, {"assignee": "kim", "labels": ["a"], "attributes": {"a": 1}, "priority": "urgent"})
    left = patched(agent, conversation_id, {"assignee": None})
    assert "assignee" not in left and left["labels"] == ["a"] and left["priority"] == "urgent"
    bare = patched(agent, conversation_id, {"labels": None, "attributes": {}, "priority": None})
    assert bare["labels"] == [] and bare["attributes"] == {} and bare["priority"] == "normal"


def test_what_changes_nothing_is_no_entry_and_no_version(agent, conversation_id):
    first = patched(agent, conversation_id, {"labels": ["a"], "priority": "low"})
    again = patched(agent, conversation_id, {"labels": ["a"], "priority": "low", "status": "open"})
    assert again == first
    assert patched(agent, conversation_id, {}) == first
    assert patched(agent, conversation_id, {"handler": "bot"}) == first
    assert patched(agent, conversation_id, {"unknown": 1}) == first


def test_if_match_holds_or_is_412(agent, conversation_id):
    response = agent.get(f"/api/v2/chat/conversations/{conversation_id}")
    tag = response.header("ETag")
    assert tag == f'"{response.json["conversation"]["version"]}"'
    changed = patched(agent, conversation_id, {"priority": "high"}, **{"If-Match": tag})
    check_problem(patch(agent, conversation_id, {"priority": "low"}, **{"If-Match": tag}), 412, "precondition_failed")
    for other in ('W/"%d"' % changed["version"], '"x"', '""', '"99"', "nonsense"):
        check_problem(patch(agent, conversation_id, {"priority": "low"}, **{"If-Match": other}), 412)
    assert agent.conversation(conversation_id)["conversation"] == changed
    patched(agent, conversation_id, {"priority": "low"}, **{"If-Match": f'"99", "{changed["version"]}"'})
    patched(agent, conversation_id, {"priority": "urgent"}, **{"If-Match": "*"})


def test_of_many_conditional_patches_at_once_one_wins(agent, conversation_id):
    version = agent.conversation(conversation_id)["conversation"]["version"]
    statuses = []

    def change(number):
        client = agent.twin()
        response = patch(client, conversation_id, {"assignee": f"kim-{number}"}, **{"If-Match": f'"{version}"'})
        statuses.append(response.status)
        client.close()

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [412] * 7


@pytest.mark.parametrize("body, pointer", [
    ({"status": "done"}, "/status"), ({"status": 1}, "/status"), ({"status": None}, "/status"),
    ({"assignee": 7}, "/assignee"), ({"assignee": ""}, "/assignee"), ({"assignee": "x" * 129}, "/assignee"),
    ({"labels": "vip"}, "/labels"), ({"labels": ["a", 1]}, "/labels/1"), ({"labels": [""]}, "/labels/0"),
    ({"labels": ["x" * 65]}, "/labels/0"), ({"labels": [str(n) for n in range(21)]}, "/labels"),
    ({"priority": "asap"}, "/priority"), ({"handler": "robot"}, "/handler"), ({"handler": {}}, "/handler/type"),
    ({"handler": {"type": "ghost"}}, "/handler/type"), ({"handler": {"type": "human", "id": 5}}, "/handler/id"),
    ({"handler": []}, "/handler"), ({"attributes": []}, "/attributes"),
    ({"attributes": {"a": "x" * 8200}}, "/attributes"), (b'{"attributes":{"a":1,"a":2}}', "/attributes"), ([], ""),
])
def test_what_is_not_valid_is_422_with_a_pointer(agent, conversation_id, body, pointer):
    before = agent.conversation(conversation_id)["conversation"]
    response = patch(agent, conversation_id, body, **{"Content-Type": "application/json"})
    check_problem(response, 422, "validation_failed", pointer)
    assert agent.conversation(conversation_id)["conversation"] == before


def test_only_those_who_manage_may_and_others_things_do_not_exist(service, alice, agent, conversation_id):
    check_problem(patch(alice, conversation_id, {"status": "closed"}), 403, "forbidden")
    check_problem(patch(service.client("x", role="service"), conversation_id, {"status": "closed"}), 403, "forbidden")
    elsewhere = service.client("kim", tenant="acme", role="agent")
    check_problem(patch(elsewhere, conversation_id, {"status": "closed"}), 404, "not_found")
    check_problem(patch(agent, UNKNOWN, {"status": "closed"}), 404, "not_found")
    check_problem(patch(agent, "nonsense", {"status": "closed"}), 404, "not_found")
    check_problem(patch(agent, conversation_id, b"{", **{"Content-Type": "application/json"}), 400, "malformed_json")
    check_problem(patch(agent, conversation_id, b"{}", **{"Content-Type": "text/plain"}), 415)
    check_problem(patch(service.anonymous(), conversation_id, {}), 401)


def test_after_a_close_a_message_starts_a_new_conversation(alice, agent, conversation_id):
    patched(agent, conversation_id, {"status": "closed"})
    other = alice.say("Hello again")["conversation_id"]
    assert other != conversation_id
    assert alice.say("And again")["conversation_id"] == other
    assert alice.conversation(conversation_id)["conversation"]["status"] == "closed"


def test_a_message_that_names_a_closed_conversation_reopens_it(alice, agent, conversation_id):
    for status in ("closed", "snoozed", "pending"):
        closed = patched(agent, conversation_id, {"status": status})
        assert alice.say("It is not over", conversation_id=conversation_id)["conversation_id"] == conversation_id
        shown = alice.conversation(conversation_id)["conversation"]
        assert shown["status"] == "open" and shown["version"] > closed["version"]
        last = alice.log(conversation_id)[-1]
        assert last["kind"] == "status" and last["content"]["data"] == {"status": "open"}
        assert last["sender"]["type"] == "system"
    assert alice.say("More")["conversation_id"] == conversation_id


def test_an_agent_reopens_and_the_user_goes_on_there(alice, agent, conversation_id):
    patched(agent, conversation_id, {"status": "closed"})
    patched(agent, conversation_id, {"status": "open"})
    assert alice.say("Still here")["conversation_id"] == conversation_id


def test_the_list_filters_by_the_status_that_was_set(alice, agent, conversation_id):
    patched(agent, conversation_id, {"status": "snoozed"})
    assert conversation_id in [row["id"] for row in agent.conversations(status="snoozed", limit=200)["data"]]
    assert conversation_id not in [row["id"] for row in alice.conversations(status="open")["data"]]


def test_a_taken_over_conversation_gets_no_bot_reply_until_it_is_given_back(alice, agent, conversation_id):
    patched(agent, conversation_id, {"handler": {"type": "human", "id": agent.user}})
    response = alice.post_message("Anybody?")
    assert response.status == 202 and response.json["status"] == "accepted"
    assert alice.messages(conversation_id)[-1]["sender"]["type"] == "user"
    patched(agent, conversation_id, {"handler": {"type": "bot"}})
    assert alice.post_message("Bot?").status == 200


def test_a_takeover_ends_the_run_and_its_reply_never_lands(service, alice, agent):
    with service.chat(alice) as socket:
        conversation_id = socket.say("hello")["conversation_id"]
        socket.expect("run", state="ended")
        socket.unread.clear()
        socket.say(" ".join(["word"] * 200))
        run = socket.expect("run", state="started")
        patched(agent, conversation_id, {"handler": "human"})
        assert socket.expect("run", state="ended", run_id=run["run_id"])["reason"] == "superseded"
        patched(agent, conversation_id, {"labels": ["after"]})
        socket.expect("message", where=lambda frame: frame["message"]["kind"] == "label")
        log = alice.log(conversation_id)
        takeover = next(entry["seq"] for entry in log if entry["kind"] == "handler")
        assert not [entry for entry in log if entry["seq"] > takeover and entry["sender"]["type"] == "bot"]


def test_changes_reach_subscribers_live_and_in_replay(service, alice, agent, conversation_id):
    head = alice.conversation(conversation_id)["conversation"]["last_seq"]
    with service.chat(alice) as socket:
        socket.subscribe(conversation_id, after_seq=head)
        patched(agent, conversation_id, {"status": "closed", "labels": ["done"]})
        for kind in ("status", "label"):
            frame = socket.expect("message", where=lambda frame: frame["message"]["kind"] == kind)
            assert frame["conversation_id"] == conversation_id
    with service.chat(alice) as socket:
        socket.subscribe(conversation_id, after_seq=head)
        assert [entry["kind"] for entry in socket.entries(conversation_id)] == ["status", "label"]


def test_what_was_changed_outlives_the_process(launch):
    service = launch()
    agent, user = service.client("kim", role="agent"), service.client("ann")
    conversation_id = user.say("Hello")["conversation_id"]
    changed = patched(agent, conversation_id, {
        "status": "closed", "assignee": "kim", "labels": ["a"], "priority": "low", "attributes": {"a": 1},
        "handler": {"type": "human", "id": "kim"}})
    service.kill()
    service.restart()
    assert service.client("kim", role="agent").conversation(conversation_id)["conversation"] == changed
    assert service.client("ann").say("Hello")["conversation_id"] != conversation_id
