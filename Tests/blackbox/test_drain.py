"""SIGTERM under load: what is open ends well, nothing acknowledged is lost or doubled, and all come back in time."""

import asyncio
import json
import random
import re
import signal
import socket
import threading
import time

from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from conftest import (ConnectionEnded, RawWebSocket, eventually, frame_bytes, make_token, request_bytes, texts,
                      unique)
from storm import Storm
from test_events import EventStream

USERS, DEVICES = 100, 10
CATCH_UP_SECONDS = 2.0
SEND_EVERY_SECONDS = 1.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Device:
    """One WebSocket client that follows its user's conversation over restarts, as the contract tells it to."""

    def __init__(self, world, user, number):
        self.world, self.user, self.number = world, user, number
        self.seen = {}  # seq -> message id
        self.head, self.is_live = 0, False
        self.acknowledged, self.unacknowledged = {}, {}
        self.allowed_at = None  # When it may connect again: the close, and the wait that it named.
        self.caught_up_at, self.reconnects = None, 0
        self.waits = []

    async def run(self):
        while not self.world.is_over:
            try:
                async with open_socket(self.world.websocket_url, compression=None, ping_interval=None, proxy=None,
                                       max_queue=None, open_timeout=10, close_timeout=2) as connection:
                    await self.follow(connection)
            except ConnectionClosed as closed:
                if self.world.is_over:
                    return
                assert closed.rcvd is not None, "a drain closes with a reason"
                assert closed.rcvd.code == 1001, f"{closed.rcvd.code} {closed.rcvd.reason}"
                self.waits.append(json.loads(closed.rcvd.reason)["retry_after_ms"] / 1000)
                self.allowed_at = time.monotonic() + self.waits[-1]
                self.caught_up_at, self.is_live = None, False
                self.reconnects += 1
                await asyncio.sleep(self.waits[-1])
            except (OSError, InvalidHandshake, TimeoutError):
                await asyncio.sleep(0.05 + random.random() / 10)  # The new process is not there yet.

    async def follow(self, connection):
        await connection.send(json.dumps({"type": "connect", "token": self.user.token, "device_id": f"d{self.number}"}))
        await connection.send(json.dumps({"type": "subscribe", "id": "s", "conversation_id": self.user.conversation,
                                          "after_seq": self.head}))
        for key, text in self.unacknowledged.items():
            await self.send(connection, key, text)
        sender = asyncio.create_task(self.talk(connection)) if self.number == 0 else None
        try:
            async for text in connection:
                self.take(json.loads(text))
            raise ConnectionClosed(connection.protocol.close_rcvd, None)
        finally:
            if sender:
                sender.cancel()

    def take(self, frame):
        kind = frame["type"]
        if kind == "message":
            entry = frame["message"]
            assert self.seen.setdefault(entry["seq"], entry["id"]) == entry["id"], "one seq, one entry"
            if self.is_live:
                assert entry["seq"] == self.head + 1, f"{entry['seq']} came after {self.head}"
            while self.head + 1 in self.seen:
                self.head += 1
        elif kind == "subscribed":
            assert self.head >= frame["last_seq"], "the replay is whole before it is said to be"
            assert self.head == max(self.seen, default=0), "no hole"
            self.is_live, self.caught_up_at = True, time.monotonic()
        elif kind == "ack":
            self.acknowledged[frame["id"]] = (frame["message_id"], frame["seq"])
            self.unacknowledged.pop(frame["id"], None)
        elif kind == "error":
            raise AssertionError(frame)
        assert kind != "gap"

    async def send(self, connection, key, text):
        await connection.send(json.dumps({"type": "message", "id": key, "conversation_id": self.user.conversation,
                                          "content": {"type": "text", "text": text}}))

    async def talk(self, connection):
        while not self.world.is_quiet:
            await asyncio.sleep(SEND_EVERY_SECONDS * (0.5 + random.random()))
            if self.world.is_quiet:
                return
            key = unique("ws")
            self.unacknowledged[key] = text = f"by socket {key}"
            await self.send(connection, key, text)


class User:
    def __init__(self, name):
        self.name, self.token = name, make_token(name)
        self.conversation, self.is_answered = None, False


class Poster:
    """Sends over HTTP, a new connection each time, and repeats with the same key until there is an answer."""

    def __init__(self, world, user):
        self.world, self.user, self.acknowledged = world, user, {}
        self.pending = None

    async def run(self):
        while not self.world.is_quiet or self.pending:
            if not self.pending:
                await asyncio.sleep(SEND_EVERY_SECONDS * (0.5 + random.random()))
                if self.world.is_quiet:
                    return
                self.pending = unique("http")
            try:
                status, answer = await self.post(self.pending)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.05)
                continue
            if status in (200, 202):
                self.acknowledged[self.pending] = (answer["message"]["id"], answer["message"]["seq"])
                self.pending = None
            else:
                assert status in (409, 503), f"{status} {answer}"
                await asyncio.sleep(0.2)

    async def post(self, key):
        body = json.dumps({"user_id": self.user.name, "channel": "web", "conversation_id": self.user.conversation,
                           "content": {"type": "text", "text": f"by HTTP {key}"}}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.world.port)
        try:
            writer.write(request_bytes("POST", "/api/v2/chat/message", {
                "Authorization": f"Bearer {self.user.token}", "Content-Type": "application/json",
                "Idempotency-Key": key, "Connection": "close"}, body))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(re.search(r"(?i)content-length: (\d+)", head)[1])
            return int(head.split()[1]), json.loads(await reader.readexactly(length))
        finally:
            writer.close()


class World:
    def __init__(self, service, port):
        self.service, self.port = service, port
        self.websocket_url = service.websocket_url()
        self.is_over = self.is_quiet = False
        self.users = [User(unique(f"u{number}")) for number in range(USERS)]
        self.devices = [Device(self, user, number) for user in self.users for number in range(DEVICES)]
        self.posters = [Poster(self, user) for user in self.users[::5]]

    async def until(self, probe, seconds, what):
        deadline = time.monotonic() + seconds
        while not probe():
            for task in self.tasks:
                if task.done() and task.exception():
                    raise task.exception()
            assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
            await asyncio.sleep(0.02)

    async def play(self, restart):
        self.tasks = [asyncio.create_task(one.run()) for one in self.devices + self.posters]
        await self.until(lambda: all(one.is_live for one in self.devices), 30, "the first connection of all")
        await asyncio.sleep(2)
        loop = asyncio.get_running_loop()
        ready_at = await loop.run_in_executor(None, restart)
        await self.until(lambda: all(one.is_live for one in self.devices), 15, "the return of all")
        late = [one.caught_up_at - max(one.allowed_at, ready_at) for one in self.devices]
        await asyncio.sleep(1.5)
        self.is_quiet = True
        await self.until(lambda: not any(one.unacknowledged for one in self.devices)
                         and not any(one.pending for one in self.posters), 15, "the last acknowledgements")
        heads = {user: await loop.run_in_executor(None, self.settled_log_of, user) for user in self.users}
        await self.until(lambda: all(one.head == len(heads[one.user]) for one in self.devices), 10, "the last deliveries")
        self.is_over = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return late, heads

    def settled_log_of(self, user):
        """With the engine's reply to each message, where the engine replies."""
        def settled():
            log = self.log_of(user)
            came = [entry["direction"] for entry in log if entry["kind"] == "message"]
            return (not user.is_answered or came.count("inbound") == came.count("outbound")) and log
        return eventually(settled, 10, "the last replies")

    def log_of(self, user):
        client = self.service.client(user.name, token=user.token)
        try:
            return client.log(user.conversation)
        finally:
            client.close()


def test_a_restart_under_a_thousand_clients_loses_nothing(launch):
    """Measured from when a client may come back (its close and the wait that it named) and the new process is ready."""
    port = free_port()
    service = launch(PORT=port, DRAIN_DELAY_MS=500, DRAIN_TIMEOUT_MS=8000)
    world = World(service, port)
    for number, user in enumerate(world.users):
        client = service.client(user.name, token=user.token)
        # A human handles most; in some the engine answers each message.
        user.is_answered = number % 10 == 0
        user.conversation = client.say("Hello")["conversation_id"] if user.is_answered else client.handed_to_human()
        client.close()
    result = {}

    def restart():
        asked = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        result["readiness"] = eventually(lambda: (lambda answer: answer == 503 and answer)(readiness(service)), 2, "503")
        result["code"] = service.process.wait(10)
        result["seconds"] = time.monotonic() - asked
        service.start()
        return time.monotonic()

    late, logs = asyncio.run(world.play(restart))
    assert result["code"] == 0 and result["seconds"] < 8
    assert all(one.reconnects == 1 for one in world.devices)
    waits = sorted(wait for one in world.devices for wait in one.waits)
    assert waits[0] < 1 and waits[-1] > 4 and waits[-1] <= 5, "reconnects are spread over the time"
    assert max(late) < CATCH_UP_SECONDS, f"the slowest took {max(late):.2f} s"
    for device in world.devices:
        assert [device.seen[seq] for seq in range(1, device.head + 1)] == [entry["id"] for entry in logs[device.user]]
    count = 0
    for sender in world.devices + world.posters:
        keys = [text.split()[-1] for text in texts(logs[sender.user], "inbound")]
        ids = {entry["id"]: entry["seq"] for entry in logs[sender.user]}
        for key, (message_id, seq) in sender.acknowledged.items():
            assert ids[message_id] == seq, "what was acknowledged is there, where it was said to be"
            assert keys.count(key) == 1, "a repetition is not a second message"
            count += 1
    assert count > 300, f"only {count} messages were sent"
    print(f"{count} messages; drain {result['seconds']:.2f} s; caught up within {max(late):.2f} s")


def readiness(service):
    try:
        return service.anonymous().get("/readyz").status
    except (ConnectionEnded, OSError):
        return None


def test_streams_and_polls_are_told_when_to_come_back(launch):
    service = launch()
    client = service.client()
    conversation = client.say("Hello")["conversation_id"]
    stream = EventStream(service, client, conversation).open()
    stream.entries(2)
    poll = service.raw()
    poll.send(request_bytes("GET", f"/api/v2/chat/conversations/{conversation}?after_seq=2&order=asc",
                            {**client.authorization(), "Prefer": "wait=25"}))
    poll.wait_until_read()
    eventually(lambda: "chat_long_polls 1" in service.metrics() or "chat_polls 1" in service.metrics()
               or re.search(r"^chat_\w*poll\w* 1$", service.metrics(), re.M), 5, "the poll waiting")
    before = len(stream.retries)
    service.process.send_signal(signal.SIGTERM)
    answer = poll.response()
    assert answer.status == 200 and answer.json["data"] == [], "nothing came, and it is told so at once"
    poll.expect_end()
    stream.to_end()
    assert stream.ended_orderly and len(stream.retries) == before + 1
    assert 250 <= stream.retries[-1] <= 5000
    assert service.process.wait(10) == 0
    stream.connection.close()


def test_a_run_that_is_streamed_is_settled_by_a_stop(launch):
    service = launch()
    client = service.client()
    with service.chat(client) as chat:
        text = " ".join(f"word{number}" for number in range(400))
        conversation = chat.say(text)["conversation_id"]
        chat.expect("run", state="delta")
        service.process.send_signal(signal.SIGTERM)
        chat.expect_close(1001)
    assert service.process.wait(10) == 0
    service.start()
    client.close()
    messages = client.messages(conversation)
    assert [one["direction"] for one in messages] == ["inbound", "outbound"], "its reply is there, once"
    assert text in messages[1]["content"]["text"]
    # No run stays open: the next message is answered.
    assert client.post_message("Hello", conversation_id=conversation).status == 200


def test_who_never_reads_or_never_finishes_does_not_hold_up_the_stop(launch):
    service = launch(DRAIN_TIMEOUT_MS=3000)
    client = service.client()
    conversation = client.handed_to_human()
    deaf = service.raw(receive_buffer_bytes=4096)
    for _ in range(30):
        deaf.send(request_bytes("GET", "/openapi.yaml"))
    flooded = RawWebSocket(service, "/bench/echo", receive_buffer_bytes=4096)
    flooded.socket.settimeout(0.5)
    try:
        for _ in range(400):
            flooded.socket.sendall(frame_bytes(2, b"x" * 60_000))
    except TimeoutError:
        pass  # The server has stopped to read what it cannot send back.
    half_head, half_body = service.raw(), service.raw()
    half_head.send(b"POST /api/v2/chat/mess")
    half_body.send(request_bytes("POST", "/api/v2/chat/message", {
        **client.authorization(), "Content-Type": "application/json", "Content-Length": "500"}, b"{")[:-1])
    for connection in (half_head, half_body):
        connection.wait_until_read()
    silent = RawWebSocket(service, "/api/v2/chat/ws")  # Never says who it is, never answers the close.
    stream = EventStream(service, client, conversation).open()
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0
    assert time.monotonic() - began < 3.2, "DRAIN_TIMEOUT_MS is the whole time"
    for connection in (deaf, flooded, half_head, half_body, silent, stream.connection):
        connection.close()
    service.start()
    assert service.client(client.user).say("Still here")["conversation_id"] == conversation


def test_the_delay_does_not_outlast_the_timeout(launch):
    service = launch(DRAIN_DELAY_MS=60_000, DRAIN_TIMEOUT_MS=1000)
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0
    assert time.monotonic() - began < 1.2


def test_a_storm_of_five_thousand_returns_is_served(launch):
    port = free_port()
    service = launch(PORT=port)
    members = []
    for _ in range(50):
        client = service.client()
        members.append((client.token, client.handed_to_human(), 0))
        client.close()
    storm = Storm("127.0.0.1", port, [members[number % len(members)] for number in range(5000)])
    summary = storm.summary(storm.run(20))
    assert summary["served"] == 5000, summary
    stopping = threading.Thread(target=service.stop)
    stopping.start()
    eventually(lambda: readiness(service) is None, 5, "the listener closing")
    storm.close()
    stopping.join()
    service.start()
    summary = storm.summary(storm.run(20))
    storm.close()
    assert summary["served"] == 5000 and summary["refused"] == 0, summary
    assert summary["seconds_all"] < 5, summary
    print(summary)
