"""Many WebSocket clients in one thread, for tests and measurements that need thousands: connect, subscribe, wait.

A client sends its handshake and its `subscribe` frame in one piece and is served when `subscribed` has come. Nothing is
parsed but what must be: the generator must not be what is measured.

    python storm.py URL TOKENS_FILE [--clients 5000]
"""

import argparse
import json
import select
import socket
import struct
import sys
import time
from urllib.parse import urlsplit


def text_frame(text):
    payload = text.encode()
    head = struct.pack("!BB", 0x81, 0x80 | len(payload)) if len(payload) < 126 else struct.pack("!BBH", 0x81, 0xFE, len(payload))
    return head + b"\0\0\0\0" + payload  # A mask of zeros is a mask (RFC 6455 5.3).


class Client:
    __slots__ = ("socket", "request", "received", "served_at", "fault", "began_at")

    def __init__(self, request):
        self.request, self.socket, self.received = request, None, b""
        self.served_at = self.fault = self.began_at = None


class Storm:
    """`members`: a (token, conversation_id, after_seq) for each client."""

    def __init__(self, host, port, members):
        self.address = (host, port)
        self.clients = [Client(self._request(*member)) for member in members]

    def _request(self, token, conversation_id, after_seq):
        head = (f"GET /api/v2/chat/ws HTTP/1.1\r\nHost: {self.address[0]}:{self.address[1]}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Authorization: Bearer {token}\r\n\r\n").encode()
        return head + text_frame(json.dumps({"type": "subscribe", "id": "s", "conversation_id": conversation_id,
                                             "after_seq": after_seq}))

    def run(self, seconds):
        """Connects all at once; returns when every client is served or has failed, or when the time is up."""
        poll, by_descriptor = select.epoll(), {}
        began = time.monotonic()
        for client in self.clients:
            client.socket = socket.socket()
            client.socket.setblocking(False)
            client.began_at = time.monotonic()
            client.received, client.served_at, client.fault = b"", None, None
            client.socket.connect_ex(self.address)
            by_descriptor[client.socket.fileno()] = client
            poll.register(client.socket.fileno(), select.EPOLLOUT)
        waiting = len(self.clients)
        while waiting and time.monotonic() - began < seconds:
            for descriptor, events in poll.poll(0.1):
                client = by_descriptor[descriptor]
                if events & select.EPOLLOUT and not events & select.EPOLLERR:
                    client.socket.send(client.request)
                    poll.modify(descriptor, select.EPOLLIN)
                    continue
                try:
                    data = client.socket.recv(65_536)
                except OSError as error:
                    data, client.fault = b"", str(error)
                client.received += data
                if not data or not client.received.startswith(b"HTTP/1.1 101"[:len(client.received)]):
                    client.fault = client.fault or f"refused: {client.received[:200]!r}"
                elif b'"type":"subscribed"' in client.received:
                    client.served_at = time.monotonic()
                else:
                    continue
                poll.unregister(descriptor)
                waiting -= 1
        poll.close()
        return began

    def close(self):
        for client in self.clients:
            client.socket.close()

    def summary(self, began):
        times = sorted(client.served_at - began for client in self.clients if client.served_at)
        faults = [client.fault for client in self.clients if client.fault]
        return {"clients": len(self.clients), "served": len(times), "refused": len(faults), "faults": sorted(set(faults))[:3],
                "seconds_all": round(times[-1], 3) if times else None,
                "seconds_median": round(times[len(times) // 2], 3) if times else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("members", help="a file of JSON: a list of [token, conversation_id, after_seq]")
    parser.add_argument("--clients", type=int, default=5000)
    arguments = parser.parse_args()
    with open(arguments.members) as file:
        members = json.load(file)
    target = urlsplit(arguments.url)
    storm = Storm(target.hostname, target.port, [members[place % len(members)] for place in range(arguments.clients)])
    summary = storm.summary(storm.run(30))
    print(json.dumps(summary))
    sys.exit(0 if summary["served"] == arguments.clients else 1)


if __name__ == "__main__":
    main()
