#!/usr/bin/env python3
"""How long a message takes from being sent to being received, while thousands of sockets get one each second.

    Benchmarks/fanout.py .build/release/chat-service [--clients 5000] [--seconds 20] [--json]

Each client is a user with a WebSocket that follows its own conversation. An agent answers in every conversation once a
second over a few HTTP connections, evenly spread; the time is from before the request is written to when the frame has
been read. It ends with percentiles in milliseconds, and with what was sent and never came (must be nothing). Sender,
clients and service share the machine: nothing is pinned.
"""

import argparse
import json
import os
import select
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Tests" / "blackbox"))
from million import SECRET, Connection, token  # noqa: E402
from storm import Storm  # noqa: E402


def start(binary, directory):
    import re
    import subprocess
    environment = {**os.environ, "DATA_DIR": directory, "PORT": "0", "HOST": "127.0.0.1", "LOG_LEVEL": "ERROR",
                   "DEFAULT_RATE_LIMIT": "1000000000", "BURST_LIMIT": "1000000000", "JWT_SECRET": SECRET}
    process = subprocess.Popen([binary, "serve"], env=environment, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if '"ready"' in line:
            return process, int(re.search(r":(\d+)\"", line)[1])
    raise SystemExit("the service did not start")


class Sender:
    """HTTP requests written one behind the other; answers are only counted."""

    def __init__(self, port, members, connections=8):
        self.connections = [Connection(port, "kim", "agent") for _ in range(connections)]
        self.paths = [f"/api/v2/chat/conversations/{conversation}/messages" for _, conversation, _ in members]
        for connection in self.connections:
            connection.socket.setblocking(False)
        self.answers, self.refused = 0, 0

    def send(self, place, number):
        connection = self.connections[place % len(self.connections)]
        body = json.dumps({"content": {"type": "text", "text": f"<{number}>"}}).encode()
        connection.socket.sendall(connection.request("POST", self.paths[place], body))

    def read(self, connection):
        try:
            data = connection.socket.recv(1 << 18)
        except BlockingIOError:
            return
        self.answers += data.count(b"HTTP/1.1 201")
        self.refused += data.count(b"HTTP/1.1 ") - data.count(b"HTTP/1.1 201")


def percentile(times, part):
    return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 2)


def run(port, arguments):
    asking = Connection(port, "backend", "service")
    members = []
    for place in range(arguments.clients):
        user = f"user-{place}"
        conversation = asking.say(user, "I want to talk to a human agent")
        members.append((token(user, "end_user"), conversation, 3))
    storm = Storm("127.0.0.1", port, members)
    summary = storm.summary(storm.run(30))
    if summary["served"] != arguments.clients:
        raise SystemExit(f"not all clients were served: {summary}")
    sender = Sender(port, members)
    poll, readers = select.epoll(), {}
    for client in storm.clients:
        readers[client.socket.fileno()] = client.socket
        poll.register(client.socket.fileno(), select.EPOLLIN)
    senders = {connection.socket.fileno(): connection for connection in sender.connections}
    for descriptor in senders:
        poll.register(descriptor, select.EPOLLIN)
    sent_at, times = [], []
    began, total = time.monotonic(), int(arguments.seconds * arguments.clients)
    late = 0.0
    while len(times) < total and time.monotonic() - began < arguments.seconds + 10:
        now = time.monotonic()
        due = min(total, int((now - began) * arguments.clients) + 1)
        while len(sent_at) < due:
            late = max(late, time.monotonic() - began - len(sent_at) / arguments.clients)
            sent_at.append(time.monotonic())
            sender.send((len(sent_at) - 1) % arguments.clients, len(sent_at) - 1)
        for descriptor, _ in poll.poll(0.0005):
            if descriptor in senders:
                sender.read(senders[descriptor])
                continue
            data = readers[descriptor].recv(65_536)
            came = time.monotonic()
            start = data.find(b'"text":"<')
            while start >= 0:
                end = data.find(b">", start)
                times.append(came - sent_at[int(data[start + 9:end])])
                start = data.find(b'"text":"<', end)
    storm.close()
    times.sort()
    return {"clients": arguments.clients, "sent": len(sent_at), "received": len(times), "answered": sender.answers,
            "refused": sender.refused, "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99),
            "p999_ms": percentile(times, 0.999), "max_ms": percentile(times, 1), "sender_late_max_ms": round(late * 1000, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        process, port = start(arguments.binary, directory)
        try:
            result = run(port, arguments)
        finally:
            process.terminate()
            process.wait(60)
    print(json.dumps(result) if arguments.json else "\n".join(f"{name:20} {value}" for name, value in result.items()))
    sys.exit(0 if result["received"] == result["sent"] else 1)


if __name__ == "__main__":
    main()
