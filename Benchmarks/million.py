#!/usr/bin/env python3
"""What reading costs in a store of a million entries, against a store that has next to nothing.

    Benchmarks/million.py .build/release/chat-service [--entries 1000000] [--rounds 500] [--json FILE]

A store gets some conversations that are measured (the same in each), is measured, then filled over the API, either with
many small conversations or with one large one, and measured again: pages of history, searches, lists with filters, and
resuming over a WebSocket. Every figure is the time of one request after another over the loopback, in microseconds; the
ratio is against the store before it was filled. Needs Python 3.9 and nothing else; the service runs on core 0, this on 1.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

SECRET = "a-secret-for-benchmarks-a-secret-for-benchmarks"
LIST = "/api/v2/chat/conversations"
COMMON, RARE = "hello", "xylophone"


def token(user, role):
    def part(value):
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=")
    claims = {"sub": user, "tenant_id": "demo", "roles": [role], "exp": int(time.time()) + 86400}
    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    return (text + b"." + part(hmac.new(SECRET.encode(), text, hashlib.sha256).digest())).decode()


class Service:
    def __init__(self, binary, directory):
        environment = {**os.environ, "DATA_DIR": directory, "PORT": "0", "HOST": "127.0.0.1", "REACTOR_THREADS": "1",
                       "DEFAULT_RATE_LIMIT": "1000000000", "BURST_LIMIT": "1000000000", "JWT_SECRET": SECRET,
                       "LOG_LEVEL": "ERROR"}
        self.process = subprocess.Popen(["taskset", "-c", "0", binary, "serve"], env=environment,
                                        stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if '"ready"' in line:
                self.port = int(re.search(r":(\d+)\"", line)[1])
                return
        raise SystemExit("the service did not start")

    def metric(self, name):
        text = Connection(self.port).get("/metrics")
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def thread_cpu_seconds(self, name):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/stat") as file:
                text = file.read()
            if f"({name})" in text:
                fields = text.rsplit(")", 1)[1].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


class Connection:
    def __init__(self, port, user="kim", role="agent"):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.token = token(user, role)
        self.buffer = b""

    def request(self, method, target, body=b""):
        extra = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        return (f"{method} {target} HTTP/1.1\r\nHost: b\r\nAuthorization: Bearer {self.token}\r\n{extra}\r\n").encode() + body

    def answer(self):
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: (\d+)", head)[1])
        while len(self.buffer) < length:
            self._more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        if not 200 <= int(head[9:12]) < 300:
            raise SystemExit(f"{head.decode()}\n{body.decode()}")
        return body.decode()

    def _more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise SystemExit("the service closed a connection")
        self.buffer += data

    def get(self, target):
        self.socket.sendall(self.request("GET", target))
        return self.answer()

    def send(self, method, target, fields):
        self.socket.sendall(self.request(method, target, json.dumps(fields).encode()))
        return json.loads(self.answer())

    def say(self, user, text, conversation=None):
        fields = {"user_id": user, "channel": "web", "content": {"type": "text", "text": text}}
        if conversation:
            fields["conversation_id"] = conversation
        return self.send("POST", "/api/v2/chat/message", fields)["conversation_id"]


class Socket:
    """The few frames that resuming needs."""

    def __init__(self, port, user):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall((f"GET /api/v2/chat/ws HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                             f"Authorization: Bearer {token(user, 'end_user')}\r\n\r\n").encode())
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(65536)
        self.buffer = self.buffer.partition(b"\r\n\r\n")[2]
        while '"connected"' not in self.frame():
            pass

    def frame(self):
        while True:
            if len(self.buffer) >= 2:
                size, start = self.buffer[1] & 127, 2
                if size == 126 and len(self.buffer) >= 4:
                    size, start = struct.unpack(">H", self.buffer[2:4])[0], 4
                elif size == 127 and len(self.buffer) >= 10:
                    size, start = struct.unpack(">Q", self.buffer[2:10])[0], 10
                elif size >= 126:
                    size = 1 << 62
                if len(self.buffer) >= start + size:
                    payload, self.buffer = self.buffer[start:start + size], self.buffer[start + size:]
                    return payload.decode()
            data = self.socket.recv(1 << 18)
            if not data:
                raise SystemExit("the service closed a socket")
            self.buffer += data

    def ask(self, frame, until):
        payload = json.dumps(frame).encode()
        size = bytes([128 | len(payload)]) if len(payload) < 126 else bytes([128 | 126]) + struct.pack(">H", len(payload))
        self.socket.sendall(b"\x81" + size + b"\0\0\0\0" + payload)
        marker = f'"type":"{until}"'
        while marker not in self.frame()[:40]:
            pass


class Words:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.words = ["".join(self.random.choice("abcdefghijklmnoprstuvwz") for _ in range(self.random.randint(3, 9)))
                      for _ in range(20000)]

    def text(self):
        words = self.words
        return COMMON + " " + " ".join(words[min(19999, int(self.random.paretovariate(0.6)))] for _ in range(10))


def fill(port, entries, conversation=None):
    """About `entries` log entries: each message has its reply. Pipelined over eight connections."""
    words = Words(2)
    texts = [words.text() for _ in range(20000)]
    users = max(1, entries // 20)
    depth = 16
    connections = [Connection(port, "loader", "service") for _ in range(8)]
    sent, total = 0, entries // 2
    while sent < total:
        for connection in connections:
            batch = b""
            for _ in range(depth):
                user = "big" if conversation else f"u{sent % users}"
                extra = f',"conversation_id":"{conversation}"' if conversation else ""
                body = ('{"user_id":"%s","channel":"web","content":{"type":"text","text":"%s"}%s}'
                        % (user, texts[(sent * 7919) % 20000], extra)).encode()
                batch += connection.request("POST", "/api/v2/chat/message", body)
                sent += 1
            connection.socket.sendall(batch)
        for connection in connections:
            for _ in range(depth):
                connection.answer()


def prepare(port):
    """What is measured, the same in every store."""
    service, agent = Connection(port, "loader", "service"), Connection(port)
    names = {}
    for number in range(60):
        conversation = service.say(f"page{number}", f"{COMMON} number {number}")
        if number < 20:
            agent.send("PATCH", f"{LIST}/{conversation}", {"labels": ["rare"], "assignee": "kim"})
        if 20 <= number < 40:
            agent.send("PATCH", f"{LIST}/{conversation}", {"handler": "human"})
        if 40 <= number:
            agent.send("PATCH", f"{LIST}/{conversation}", {"status": "closed"})
    for number in range(5):
        service.say(f"rare{number}", f"the {RARE} of {number}")
    names["log"] = service.say("log", "first")
    for number in range(600):
        service.say("log", f"entry {number}", names["log"])
    names["big"] = service.say("big", "first")
    return names


def settle(service):
    began = time.monotonic()
    while service.metric("chat_search_lag_rows") > 0:
        time.sleep(0.05)
    time.sleep(1)
    return time.monotonic() - began


def measure(service, names, rounds):
    connection, end_user = Connection(service.port), Connection(service.port, "log", "end_user")
    stream = Socket(service.port, "log")
    log, big = names["log"], names["big"]
    head = json.loads(connection.get(f"{LIST}/{log}?limit=1"))["conversation"]["last_seq"]
    big_head = json.loads(connection.get(f"{LIST}/{big}?limit=1"))["conversation"]["last_seq"]
    sockets = {log: stream, big: Socket(service.port, "big")}

    def resume(conversation, after):
        sockets[conversation].ask({"type": "subscribe", "id": "a", "conversation_id": conversation,
                                   "after_seq": max(0, after)}, "subscribed")

    works = {
        "history, newest 50": lambda: connection.get(f"{LIST}/{log}?order=desc"),
        "history, 50 of the middle": lambda: connection.get(f"{LIST}/{log}?after_seq={head // 2}"),
        "search, rare word": lambda: connection.get(f"{LIST}?q={RARE}"),
        "search, common word": lambda: connection.get(f"{LIST}?q={COMMON}"),
        "search, both words": lambda: connection.get(f"{LIST}?q={COMMON}+{RARE}"),
        "search, end user": lambda: end_user.get(f"{LIST}?q=entry"),
        "list, no filter": lambda: connection.get(LIST),
        "list, label": lambda: connection.get(f"{LIST}?label=rare"),
        "list, assignee": lambda: connection.get(f"{LIST}?assignee=kim"),
        "list, human and open": lambda: connection.get(f"{LIST}?handler=human&status=open&assignee="),
        "list, closed": lambda: connection.get(f"{LIST}?status=closed"),
        "resume, 20 behind": lambda: resume(log, head - 20),
        "resume, 900 behind": lambda: resume(log, head - 900),
    }
    if big_head > 1000:
        works["large: history, newest 50"] = lambda: connection.get(f"{LIST}/{big}?order=desc")
        works["large: history, 50 anywhere"] = lambda: connection.get(
            f"{LIST}/{big}?after_seq={random.randrange(big_head - 60)}")
        works["large: resume, 20 behind"] = lambda: resume(big, big_head - 20)
        works["large: resume, 900 behind"] = lambda: resume(big, big_head - 900)
    figures = {}
    for name, work in works.items():
        count = rounds // 10 if "900" in name else rounds
        for _ in range(count // 10):
            work()
        times = []
        for _ in range(count):
            began = time.perf_counter_ns()
            work()
            times.append((time.perf_counter_ns() - began) / 1000)
        times.sort()
        figures[name] = {"p50": times[count // 2], "p99": times[count * 99 // 100]}
    return figures


LIKE = {"large: history, newest 50": "history, newest 50", "large: history, 50 anywhere": "history, 50 of the middle",
        "large: resume, 20 behind": "resume, 20 behind", "large: resume, 900 behind": "resume, 900 behind"}


def show(title, figures, base):
    print(f"\n{title}\n{'':32}{'p50':>9}{'p99':>9}{'p50 x':>8}{'p99 x':>8}")
    for name, figure in figures.items():
        before = base.get(LIKE.get(name, name))
        ratios = "".join(f"{figure[key] / before[key]:8.2f}" for key in ("p50", "p99")) if before else ""
        print(f"{name:32}{figure['p50']:9.0f}{figure['p99']:9.0f}{ratios}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--shape", choices=["many", "large", "both"], default="both")
    parser.add_argument("--json")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1})
    result = {}
    for shape in ["many", "large"] if options.shape == "both" else [options.shape]:
        with tempfile.TemporaryDirectory(prefix="chat-million-") as directory:
            service = Service(os.path.abspath(options.binary), directory)
            try:
                names = prepare(service.port)
                settle(service)
                base = measure(service, names, options.rounds)
                show(f"nearly empty store ({shape})", base, {})
                began, cpu = time.monotonic(), service.cpu_seconds()
                index_cpu = service.thread_cpu_seconds("search-index")
                fill(service.port, options.entries, names["big"] if shape == "large" else None)
                filled = time.monotonic() - began
                lag = service.metric("chat_search_lag_rows")
                caught_up = settle(service)
                index_cpu = service.thread_cpu_seconds("search-index") - index_cpu
                print(f"\n{shape}: {options.entries} entries in {filled:.0f} s, {service.cpu_seconds() - cpu:.0f} s of "
                      f"processor; then {lag:.0f} rows were not indexed, which took {caught_up:.0f} s more; indexing "
                      f"cost {index_cpu / options.entries * 1e6:.1f} us an entry; "
                      + ", ".join(f"{name} {os.path.getsize(os.path.join(directory, name)) / 1e6:.0f} MB"
                                  for name in ("messages.db", "search.db")))
                figures = measure(service, names, options.rounds)
                show(f"{options.entries} entries, {shape}", figures, base)
                result[shape] = {"empty": base, "full": figures}
            finally:
                service.stop()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    sys.exit(main())
