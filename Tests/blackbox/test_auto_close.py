"""Conversations in which nothing is said are closed, where the tenant wants that."""

import json
import time

import pytest

from conftest import eventually
from test_agents import patched


def set_auto_close(service, tenant, seconds):
    done = service.command("tenant", "set", tenant, "--auto-close", str(seconds), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def closing(launch):
    """`demo` closes after two seconds; `acme` never."""
    service = launch()
    service.stop()
    set_auto_close(service, "demo", 2)
    return service.start()


def shown(client, conversation_id):
    return client.conversation(conversation_id)["conversation"]


def test_an_inactive_conversation_is_closed_with_an_entry(closing):
    alice, agent = closing.client(), closing.client(user="kim", role="agent")
    other = closing.client(tenant="acme")
    conversation_id, kept = alice.say("Hello")["conversation_id"], other.say("Hello")["conversation_id"]
    snoozed = alice.say("later", channel="sms")["conversation_id"]
    patched(agent, snoozed, {"status": "snoozed"})
    with closing.chat(alice) as user:
        user.subscribe(conversation_id)
        frame = user.expect("message", where=lambda frame: frame["message"]["kind"] == "status", timeout=20)
    entry = frame["message"]
    assert entry["sender"] == {"type": "system", "id": "system"} and entry["visibility"] == "public"
    assert entry["content"] == {"type": "event", "name": "status", "data": {"status": "closed", "reason": "inactive"}}
    assert shown(alice, conversation_id)["status"] == "closed" and alice.log(conversation_id)[-1] == entry
    before = alice.log(conversation_id)[-2]
    assert entry["created_at"] >= before["created_at"]
    assert shown(alice, snoozed)["status"] == "snoozed" and shown(other, kept)["status"] == "open"
    assert alice.say("Hello again")["conversation_id"] != conversation_id
    by_agent = alice.say("closed by hand", channel="http")["conversation_id"]
    patched(agent, by_agent, {"status": "closed"})

    def counted():
        text = closing.anonymous().get("/metrics").text
        return ('chat_conversations_closed_total{tenant="demo",reason="inactive"} 1' in text
                and 'chat_conversations_closed_total{tenant="demo",reason="agent"} 1' in text
                and 'chat_conversations_closed_total{tenant="acme",reason="inactive"} 0' in text)
    eventually(counted, seconds=5, what="the counts")


def test_what_is_talked_in_stays_open(closing):
    alice = closing.client()
    conversation_id = alice.say("Hello")["conversation_id"]
    began = time.monotonic()
    while time.monotonic() < began + 6:
        assert alice.say("still here")["conversation_id"] == conversation_id
        time.sleep(0.4)
    eventually(lambda: shown(alice, conversation_id)["status"] == "closed", seconds=20)


@pytest.mark.parametrize("ends", ["restart", "kill"])
def test_what_was_left_before_a_restart_is_closed_after_it(closing, ends):
    alice = closing.client()
    conversation_id = alice.say("Hello")["conversation_id"]
    if ends == "kill":
        closing.kill()
        closing.start()
    else:
        closing.restart()
    eventually(lambda: shown(alice, conversation_id)["status"] == "closed", seconds=20)


def test_the_setting_is_checked_and_leaves_the_origins(launch):
    service = launch()
    service.stop()
    assert service.command("tenant", "set", "demo", "--origin", "https://shop.example").returncode == 0
    for seconds in (60, 0):
        changed = set_auto_close(service, "demo", seconds)
        assert changed["auto_close_seconds"] == seconds and changed["origins"] == ["https://shop.example"]
    listed = service.command("tenant", "list").stdout
    assert "https://shop.example" in listed
    for wrong in ("-1", "x", "1.5", "99999999999"):
        assert service.command("tenant", "set", "demo", "--auto-close", wrong).returncode == 64
    assert service.command("tenant", "set", "nobody", "--auto-close", "5").returncode != 0
