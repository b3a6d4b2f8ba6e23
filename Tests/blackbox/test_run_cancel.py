"""Cancelling a run over HTTP: the same as a socket's `cancel`, with an answer."""

import pytest

from conftest import check_problem, eventually

LONG = " ".join(f"word{number}" for number in range(1_000))


def path_of(run_id):
    return f"/api/v2/chat/runs/{run_id}/cancel"


@pytest.fixture
def running(service, alice):
    """A socket that sees a long reply being streamed, and the run's id."""
    with service.chat(alice) as chat:
        conversation_id = chat.say(LONG)["conversation_id"]
        run_id = chat.expect("run", state="started")["run_id"]
        yield chat, conversation_id, run_id


@pytest.mark.parametrize("who", ["own", "agent", "service"])
def test_a_run_is_cancelled_from_anywhere(service, alice, running, who):
    chat, conversation_id, run_id = running
    client = alice if who == "own" else service.client(role=who)
    response = client.post(path_of(run_id))
    assert response.status == 202
    assert response.json == {"run_id": run_id, "conversation_id": conversation_id, "state": "ended", "reason": "cancelled"}
    assert chat.expect("run", run_id=run_id, state="ended")["reason"] == "cancelled"
    check_problem(client.post(path_of(run_id)), 404, "not_found")
    assert [entry["direction"] for entry in alice.log(conversation_id)] == ["inbound"], "no message is left of it"
    chat.say("Still there?")
    chat.expect_message(direction="outbound", text="You said: Still there?", timeout=20)


def test_a_stranger_cannot_cancel(service, alice, bob, running):
    chat, _, run_id = running
    check_problem(bob.post(path_of(run_id)), 404, "not_found")
    check_problem(service.client("backend", tenant="acme", role="service").post(path_of(run_id)), 404, "not_found")
    check_problem(service.client(role="ops").post(path_of(run_id)), 403, "forbidden")
    check_problem(service.anonymous().post(path_of(run_id)), 401, "unauthenticated")
    assert alice.post(path_of(run_id)).status == 202


@pytest.mark.parametrize("run_id", ["run_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", "nonsense", "msg_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"])
def test_what_is_no_run_is_404(alice, run_id):
    check_problem(alice.post(path_of(run_id)), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post_cancels(alice, method):
    response = alice.request(method, path_of("run_0190b1d2-7c3e-7a4b-8c5d-0123456789ab"))
    check_problem(response, 405, "method_not_allowed")
    assert response.header("Allow") == "POST, OPTIONS"


def test_whoever_waits_for_the_reply_is_answered_when_it_is_cancelled(service, alice, running):
    import threading
    chat, conversation_id, run_id = running
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(alice.twin().post_message("and this?", conversation_id=conversation_id)))
    waiter.start()
    eventually(lambda: len(alice.log(conversation_id)) == 2, what="the second message in the log")
    assert alice.post(path_of(run_id), body={"anything": 1}).status == 202
    waiter.join(20)
    assert answers[0].status == 200 and answers[0].json["reply"]["content"]["text"] == "You said: and this?"
