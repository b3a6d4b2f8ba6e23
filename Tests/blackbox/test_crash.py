"""`kill -9` in a loop under load, and a checker of what the survivors say.

CRASH_ROUNDS (5) rounds on one data directory; CRASH_SEED repeats a run's choices. A failing test prints its seed.
"""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from conftest import ChatSocket, ConnectionEnded, check_answer, eventually, unique

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "5"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2 ** 31)
BROKEN = (ConnectionEnded, ConnectionClosed, InvalidHandshake, OSError, EOFError, TimeoutError)

pytestmark = pytest.mark.crash


class Attempt:
    """One message that was sent under a key; whether it was acknowledged and as what."""

    def __init__(self, user, key, conversation_id=None):
        self.user, self.key, self.conversation_id = user, key, conversation_id
        self.message_id = self.seq = self.reply = None

    @property
    def acknowledged(self):
        return self.seq is not None


class History:
    """Everything that the clients of all rounds know."""

    def __init__(self):
        self.lock, self.attempts, self.faults = threading.Lock(), [], []

    def begin(self, *arguments):
        attempt = Attempt(*arguments)
        with self.lock:
            self.attempts.append(attempt)
        return attempt

    def fault(self, text):
        with self.lock:
            self.faults.append(text)


def note_answer(attempt, answer):
    attempt.message_id, attempt.seq = answer["message"]["id"], answer["message"]["seq"]
    attempt.conversation_id, attempt.reply = answer["conversation_id"], answer.get("reply")


def talk_over_http(service, history, user, stop, generator, role="end_user"):
    client = service.client("backend" if role == "service" else user, role=role)
    while not stop.is_set():
        attempt = history.begin(user, unique("h"))
        headers = {"Idempotency-Key": attempt.key}
        if generator.random() < 0.4:
            headers["Prefer"] = "respond-async"
        try:
            response = client.post_message(attempt.key, user_id=user, headers=headers)
        except BROKEN:
            break
        if response.status in (200, 202):
            note_answer(attempt, check_answer(response))
        elif response.status != 503:
            history.fault(f"{user}: {response!r}")
    client.close()


def talk_over_websocket(service, history, user, stop, generator):
    client = service.client(user)
    try:
        socket = ChatSocket(service, client)
        open_attempts = {}
        while not stop.is_set():
            while len(open_attempts) < 8:
                attempt = history.begin(user, unique("w"))
                open_attempts[attempt.key] = attempt
                socket.send(type="message", id=attempt.key, content={"type": "text", "text": attempt.key})
            frame = socket.receive(timeout=10)
            socket.unread.clear()
            if frame["type"] == "ack":
                attempt = open_attempts.pop(frame["id"])
                attempt.message_id, attempt.seq = frame["message_id"], frame["seq"]
                attempt.conversation_id = frame["conversation_id"]
                if frame["duplicate"]:
                    history.fault(f"a key that was new is called a duplicate: {frame}")
            elif frame["type"] == "error" and frame["problem"]["status"] != 503:
                history.fault(f"{user}: {frame}")
        socket.drop()
    except BROKEN:
        pass


def load(service, history, round_number, generator):
    """Starts the talkers; returns what stops them."""
    stop, threads = threading.Event(), []

    def begin(target, *arguments, **options):
        own = random.Random(generator.randrange(2 ** 31))
        threads.append(threading.Thread(target=target, args=(service, history, *arguments, stop, own), kwargs=options, daemon=True))

    for number in range(4):
        begin(talk_over_http, f"http-{number}")
    for number in range(3):
        begin(talk_over_http, "shared", role="service")  # Several senders into one conversation.
    for number in range(3):
        begin(talk_over_websocket, f"socket-{number % 2}")  # Two devices of one user among them.
    begin(talk_over_http, f"new-in-round-{round_number}")
    for thread in threads:
        thread.start()
    return stop, threads


def read_everything(service, history):
    """user -> {conversation id -> log}; each log is checked to be gap-free from 1 by `Client.log`."""
    reader = service.client("backend", role="service")
    logs = {}
    for user in sorted({attempt.user for attempt in history.attempts}):
        page = reader.conversations(user_id=user, limit=200)
        logs[user] = {item["id"]: reader.log(item["id"]) for item in page["data"]}
        for item in page["data"]:
            assert item["last_seq"] == len(logs[user][item["id"]]), "the head and the log agree"
    reader.close()
    return logs


def check_history(history, logs):
    ids = [entry["id"] for of_user in logs.values() for log in of_user.values() for entry in log]
    assert len(ids) == len(set(ids)), "an entry's id came twice"
    inbound, replies = {}, {}
    for user, of_user in logs.items():
        for conversation_id, log in of_user.items():
            for entry in log:
                if entry["kind"] != "message":
                    continue
                text = entry["content"].get("text", "")
                if entry["direction"] == "inbound":
                    inbound.setdefault(text, []).append((user, conversation_id, entry))
                elif text.startswith("You said: "):
                    replies.setdefault(text.removeprefix("You said: "), []).append((conversation_id, entry))
    known = {attempt.key for attempt in history.attempts}
    assert set(inbound) <= known, "a message that nobody sent"
    for key, found in inbound.items():
        assert len(found) == 1, f"{key} is stored {len(found)} times"
    for key, found in replies.items():
        assert len(found) == 1, f"{key} was answered {len(found)} times"
        assert key in inbound and found[0][0] == inbound[key][0][1], f"the answer to {key} stands in another conversation"
        assert found[0][1]["seq"] > inbound[key][0][2]["seq"], f"the answer to {key} comes before it"
    for attempt in history.attempts:
        if not attempt.acknowledged:
            continue
        assert attempt.key in inbound, f"LOST: {attempt.key} of {attempt.user} was acknowledged with seq {attempt.seq}"
        user, conversation_id, entry = inbound[attempt.key][0]
        assert (user, conversation_id, entry["id"], entry["seq"]) == (
            attempt.user, attempt.conversation_id, attempt.message_id, attempt.seq), f"{attempt.key} moved"
        if attempt.reply:
            assert [reply["id"] for _, reply in replies.get(attempt.key, [])] == [attempt.reply["id"]], (
                f"LOST: the reply to {attempt.key} was shown")


def resend(service, attempt):
    """Sends the same message under the same key again, as a client does that saw no answer."""
    client = service.client("backend", role="service")
    field = {"headers": {"Idempotency-Key": attempt.key}} if attempt.key.startswith("h") else {"client_message_id": attempt.key}

    def answered():
        response = client.post_message(attempt.key, user_id=attempt.user, **field)
        return response if response.status != 409 else None

    response = eventually(answered, 15, "the end of a message that is in progress")
    assert response.status in (200, 202), repr(response)
    note_answer(attempt, check_answer(response))
    client.close()


def test_no_kill_at_any_moment_loses_or_repeats_an_acknowledged_message(launch):
    print(f"\nCRASH_SEED={SEED} CRASH_ROUNDS={ROUNDS}")
    generator, history = random.Random(SEED), History()
    service = launch("crash")
    for round_number in range(ROUNDS):
        already = sum(attempt.acknowledged for attempt in history.attempts)
        stop, threads = load(service, history, round_number, generator)
        eventually(lambda: sum(attempt.acknowledged for attempt in list(history.attempts)) >= already + 30, 30,
                   "the load getting under way")
        moment = time.monotonic() + generator.random() * 0.7  # When within the load the machine dies.
        eventually(lambda: time.monotonic() >= moment, 5, every=0.001)
        service.kill()
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a talker hangs after the crash"
        assert not history.faults, history.faults[:3]
        service.start()
        check_history(history, read_everything(service, history))
        lost = [attempt for attempt in history.attempts if not attempt.acknowledged]
        # HTTP keys are resent in the next breath; WebSocket ids too, over HTTP, as a client without sockets would.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda attempt: resend(service, attempt), lost))
        logs = read_everything(service, history)
        check_history(history, logs)
        stored = {entry["content"].get("text") for of_user in logs.values() for log in of_user.values() for entry in log
                  if entry["kind"] == "message" and entry["direction"] == "inbound"}
        assert stored == {attempt.key for attempt in history.attempts}
        print(f"round {round_number}: {len(history.attempts)} sent, {len(lost)} were unanswered at the crash")
    assert service.stop() == 0


def test_a_socket_resumes_over_a_crash(launch):
    service = launch("crash")
    client, watcher = service.client(), service.client(role="agent")
    conversation_id = client.handed_to_human()
    first = ChatSocket(service, watcher)
    first.subscribe(conversation_id)
    for number in range(20):
        client.say(f"before {number}", conversation_id=conversation_id)
    first.expect_message(text="before 19")
    seen = [entry["seq"] for entry in first.entries(conversation_id)]
    service.kill()
    client.close()
    service.start()
    second = ChatSocket(service, watcher)
    client.say("after", conversation_id=conversation_id)
    second.subscribe(conversation_id, after_seq=seen[-1])
    second.expect_message(text="after")
    seen += [entry["seq"] for entry in second.entries(conversation_id)]
    assert seen == list(range(1, len(seen) + 1)), "nothing is lost and nothing comes twice over the crash"
    assert client.conversation(conversation_id)["conversation"]["handler"]["type"] == "human", "the handoff survived"
    second.close()


def test_a_reply_that_was_on_its_way_comes_at_most_once(launch):
    service = launch("crash")
    client, generator = service.client(), random.Random(SEED)
    for round_number in range(3):
        key = unique("reply")
        response = client.post_message(key, headers={"Prefer": "respond-async", "Idempotency-Key": key})
        assert response.status == 202
        conversation_id = response.json["conversation_id"]
        moment = time.monotonic() + generator.random() * 0.05
        eventually(lambda: time.monotonic() >= moment, 5, every=0.001)
        service.kill()
        client.close()
        service.start()
        client.say(f"next {round_number}", conversation_id=conversation_id)
        outbound = [entry["content"].get("text") for entry in client.messages(conversation_id) if entry["direction"] == "outbound"]
        assert outbound.count(f"You said: {key}") <= 1
        assert outbound.count(f"You said: next {round_number}") == 1, "the conversation goes on"
