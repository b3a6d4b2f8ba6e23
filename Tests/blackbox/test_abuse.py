"""What abuse costs (docs/limits.md): each attack meets its bound and is counted, memory stays bounded, and somebody who
behaves goes on being served by the same process. Attackers come from other addresses of the loopback network."""

import contextlib
import re
import resource
import socket
import struct
import threading
import time
import zlib

import pytest

from certificates import Authority, server_variables
from conftest import (BINARY, CLOSE, CONTINUATION, PING, TEXT, ConnectionEnded, RawConnection, RawWebSocket, check_problem,
                      eventually, frame_bytes, make_token, request_bytes, run_command, unique)

MEBIBYTE = 1 << 20
ATTACKER, SECOND, THIRD, GUESSER, GUESTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6")


# --- The service and its bystander


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    from conftest import Service
    started = []

    def start(tls=None, **variables):
        service = Service(tmp_path_factory.mktemp("abuse") / "data", **variables)
        service.tls = tls
        started.append(service)
        return service.start()

    yield start
    for service in started:
        assert service.is_running(), f"a test killed the service:\n{service.log_tail()}"
        assert service.stop() == 0, service.log_tail()


@pytest.fixture(scope="module")
def tight(start):
    """One event loop with little of everything. The window in which bytes must move is a third of BODY_TIMEOUT_MS."""
    return start(REACTOR_THREADS=1, HEAD_TIMEOUT_MS=1000, BODY_TIMEOUT_MS=3000, KEEP_ALIVE_TIMEOUT_MS=1500,
                 MAX_CONNECTIONS=300, MAX_CONNECTIONS_PER_ADDRESS=200, MAX_BUFFERED_BYTES=4 * MEBIBYTE,
                 BAD_CREDENTIALS_PER_MINUTE=20)


@contextlib.contextmanager
def bystander(service):
    """Somebody who says something all the time, and is answered all the time."""
    client, ended, faults, count = service.client(), threading.Event(), [], [0]

    def talk():
        try:
            while not ended.is_set():
                assert client.say(f"number {count[0]}")["status"] == "answered"
                count[0] += 1
                ended.wait(0.02)
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    eventually(lambda: count[0] > 0 or faults, what="the bystander's first answer")
    yield
    seen = count[0]
    eventually(lambda: count[0] > seen or faults, what="an answer after the attack")
    ended.set()
    thread.join(20)
    client.close()
    assert not thread.is_alive() and not faults, f"the bystander was not served: {faults}"


def metric(service, name):
    return float(re.search(rf"^{re.escape(name)} (\S+)$", service.metrics(), re.MULTILINE)[1])


def shed(service, reason):
    return int(metric(service, f'chat_shed_total{{reason="{reason}"}}'))


@contextlib.contextmanager
def counted(service, reason, least=1, most=None):
    """At the end so many more are counted, soon."""
    before = shed(service, reason)
    yield
    eventually(lambda: shed(service, reason) - before >= least, 5, f"{least} counted as {reason}")
    assert most is None or shed(service, reason) - before <= most


def resident(service):
    with open(f"/proc/{service.process.pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


class Attackers:
    """Connections that are closed at the end."""

    def __init__(self, service, source=ATTACKER):
        self.service, self.source, self.opened = service, source, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.opened:
            connection.close()

    def connect(self, **options):
        connection = RawConnection(self.service.host, self.service.port, **{"source": self.source, **options})
        self.opened.append(connection)
        return connection

    def upgrade(self, path="/bench/echo", **options):
        connection = RawWebSocket(self.service, path, source=self.source, **options)
        self.opened.append(connection)
        return connection

    def chat(self, **options):
        connection = self.upgrade("/api/v2/chat/ws", **options)
        connection.send_json(type="connect", token=make_token(user=unique()))
        assert connection.json()["type"] == "connected"
        return connection


def may_open(count):
    """Descriptors of the tests' own process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


POST = ("POST /api/v2/chat/message HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: {}\r\n\r\n")


# --- Slow


def test_slow_heads_are_cut_off_although_they_are_never_idle(tight):
    with bystander(tight), counted(tight, "slow_head", 30, 30), Attackers(tight) as attackers:
        connections = [attackers.connect() for _ in range(30)]
        began = time.monotonic()
        for connection in connections:
            connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        for drip in range(7):
            time.sleep(0.1)
            for connection in connections:
                connection.send_leniently(f"X-{drip}: 1\r\n".encode())
        for connection in connections:
            check_problem(connection.response(), 408)
            connection.expect_end()
        assert 0.9 < time.monotonic() - began < 5


def test_who_says_nothing_is_sent_away(tight):
    with bystander(tight), counted(tight, "idle", 40), Attackers(tight) as attackers:
        connections = [attackers.connect() for _ in range(20)]
        for _ in range(20):
            connections.append(attackers.connect())
            connections[-1].send(request_bytes("GET", "/health"))
            assert connections[-1].response().status == 200
        for connection in connections:
            connection.expect_end(5)


def test_a_body_that_drips_is_cut_off_before_its_time_is_over(tight):
    with bystander(tight), counted(tight, "slow_body", 20, 20), Attackers(tight) as attackers:
        connections = [attackers.connect() for _ in range(20)]
        for connection in connections:
            connection.send(POST.format(60_000).encode())
        began = time.monotonic()
        for _ in range(8):
            time.sleep(0.1)
            for connection in connections:
                connection.send_leniently(b" " * 8)
        for connection in connections:
            check_problem(connection.response(), 408)
            connection.expect_end()
        assert time.monotonic() - began < 2.8, "the pace is looked at before the whole time is over"


def test_a_body_at_a_modest_pace_is_read_and_one_that_lasts_too_long_is_not(tight):
    client = tight.client()
    text = b'{"user_id":"%s","channel":"web","content":{"type":"text","text":"%s"}}' % (client.user.encode(), b"x" * 1500)
    head = POST.format(len(text)).replace("\r\n\r\n", f"\r\nAuthorization: Bearer {client.token}\r\n\r\n")
    with counted(tight, "slow_body", 1, 1), Attackers(tight) as attackers:
        modest, long = attackers.connect(), attackers.connect()
        modest.send(head.encode())
        long.send(POST.format(60_000).encode())
        for start in range(0, len(text), 150):
            modest.send(text[start:start + 150])
            long.send_leniently(b" " * 150)
            time.sleep(0.2)
        assert modest.response().status == 200
        for _ in range(8):
            long.send_leniently(b" " * 150)
            time.sleep(0.2)
        check_problem(long.response(), 408)


# --- Memory of what is not whole


def test_halves_of_requests_fill_no_more_than_their_memory(tight):
    before = resident(tight)
    with bystander(tight), counted(tight, "buffered_requests", 50), Attackers(tight) as attackers:
        connections = [attackers.connect() for _ in range(150)]
        for connection in connections:
            connection.send(POST.format(65_000).encode())
            connection.send_leniently(b"[" + b" " * 60_000)
        statuses = [connection.response().status for connection in connections]
        assert set(statuses) == {503, 408} and statuses.count(503) >= 50, statuses
        assert resident(tight) - before < 16 * MEBIBYTE
    eventually(lambda: metric(tight, 'chat_buffered_bytes{direction="in"}') < 65_536, 5, "the memory given back")


def test_half_a_message_on_a_socket_is_no_way_around(tight):
    before = resident(tight)
    with bystander(tight), counted(tight, "buffered_requests", 1), Attackers(tight) as attackers:
        echo = attackers.upgrade()
        # 16 MiB are announced, and not all of them come.
        echo.send_leniently(struct.pack("!BBQ", 0x82, 0xFF, 16 * MEBIBYTE) + bytes(4) + bytes(12 * MEBIBYTE))
        echo.expect_close(1013)
        assert resident(tight) - before < 24 * MEBIBYTE


def test_a_header_bomb_ends_at_its_bound(tight):
    before = resident(tight)
    bombs = [(b"GET /" + b"a" * 100_000, 414), (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000, 431),
             (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 20_000, 431)]
    with bystander(tight), counted(tight, "head_too_large", 60, 60), Attackers(tight) as attackers:
        for bomb, status in bombs * 20:
            connection = attackers.connect()
            connection.send_leniently(bomb)
            check_problem(connection.response(), status)
        assert resident(tight) - before < 8 * MEBIBYTE


def test_a_huge_body_is_refused_by_its_length_and_an_endless_one_at_its_bound(tight):
    before = resident(tight)
    with bystander(tight), counted(tight, "body_too_large", 40, 40), Attackers(tight) as attackers:
        for _ in range(20):
            connection = attackers.connect()
            connection.send(POST.format(10 ** 12).encode())
            check_problem(connection.response(), 413, "payload_too_large")
            connection = attackers.connect()
            connection.send(POST.replace("Content-Length: {}", "Transfer-Encoding: chunked").encode())
            connection.send_leniently((b"1000\r\n" + b" " * 4096 + b"\r\n") * 20)
            check_problem(connection.response(), 413, "payload_too_large")
        assert resident(tight) - before < 8 * MEBIBYTE


def test_nothing_is_read_behind_what_could_not_be_read(tight):
    """A request that waits for its answer, one that is no request, and one that must not be run."""
    client = tight.client()
    conversation = client.say("first")["conversation_id"]
    head = POST.replace("\r\n\r\n", f"\r\nAuthorization: Bearer {client.token}\r\n\r\n")

    def post(text):
        body = ('{"user_id":"%s","channel":"web","content":{"type":"text","text":"%s"}}' % (client.user, text)).encode()
        return head.format(len(body)).encode() + body

    for round in range(30):
        with Attackers(tight) as attackers:
            connection = attackers.connect()
            connection.send(post(f"good {round}") + b"no request\r\n\r\n")
            connection.send_leniently(post("behind"))
            assert connection.response().status == 200
            check_problem(connection.response(), 400)
            connection.expect_end()
    said = [entry["content"]["text"] for entry in client.messages(conversation) if entry["direction"] == "inbound"]
    assert said == ["first"] + [f"good {round}" for round in range(30)]
    client.close()


def test_a_deep_document_is_refused(tight):
    client = tight.client()
    with bystander(tight):
        for body in (b"[" * 60_000, b'{"content":' + b"[" * 40 + b"]" * 40 + b"}", b"[" * 30_000 + b"]" * 30_000):
            response = client.post("/api/v2/chat/message", body, headers={"Content-Type": "application/json"})
            check_problem(response, (400, 422))
        response = client.post("/api/v2/chat/message", zlib.compress(b" " * MEBIBYTE),
                               headers={"Content-Type": "application/json", "Content-Encoding": "deflate"})
        check_problem(response, 415)
    client.close()


# --- Readers


def test_a_reader_who_stopped_is_sent_away(tight):
    with bystander(tight), counted(tight, "slow_reader", 1), Attackers(tight) as attackers:
        connection = attackers.connect(receive_buffer_bytes=4096)
        connection.send_leniently(request_bytes("GET", "/openapi.yaml") * 200)
        eventually(lambda: shed(tight, "slow_reader") > 0, 8, "the end of the reader")
        held = metric(tight, "chat_reads_held_total")
        assert held >= 1, "no more requests are read than an outbox takes"


def test_a_slow_reader_who_goes_on_reading_gets_it_all(tight):
    with Attackers(tight) as attackers:
        connection = attackers.connect(receive_buffer_bytes=4096)
        wanted = len(tight.anonymous().get("/openapi.yaml").body)
        connection.send(request_bytes("GET", "/openapi.yaml") * 10)
        began = time.monotonic()
        for _ in range(10):
            time.sleep(0.35)  # In sum far more than the connection's time without a request.
            assert len(connection.response().body) == wanted
        assert time.monotonic() - began > 3


def test_unread_answers_fill_no_more_than_their_memory(tight):
    before = resident(tight)
    with bystander(tight), counted(tight, "buffered_answers"), Attackers(tight) as attackers:
        for _ in range(60):
            connection = attackers.connect(receive_buffer_bytes=4096)
            connection.send_leniently(request_bytes("GET", "/openapi.yaml") * 40)
        eventually(lambda: shed(tight, "buffered_answers") > 0, 5, "the shedding")
        assert resident(tight) - before < 24 * MEBIBYTE
        eventually(lambda: metric(tight, 'chat_buffered_bytes{direction="out"}') < 8 * MEBIBYTE, 5, "what fits the bound")


def test_a_socket_that_does_not_read_is_closed_and_the_others_are_not(tight):
    with bystander(tight), counted(tight, "slow_reader", 1), Attackers(tight) as attackers:
        slow = attackers.upgrade("/bench/broadcast", receive_buffer_bytes=4096)
        sender = attackers.upgrade("/bench/broadcast")
        for _ in range(60):
            sender.send_frame(BINARY, bytes(50_000))
            assert sender.message().opcode == BINARY
        while (frame := slow.frame()) and frame.opcode != CLOSE:
            pass
        assert frame is None or frame.close_code == 4408


# --- Sockets


def test_a_flood_of_pings_is_bounded_and_a_busy_client_is_not(tight):
    pings = {"RFC 6455": frame_bytes(PING, b"x"), "JSON": frame_bytes(TEXT, '{"type":"ping"}'),
             "typing": frame_bytes(TEXT, '{"type":"typing","conversation_id":"conv_x","state":"start"}'),
             "no JSON": frame_bytes(TEXT, "x"), "pongs": frame_bytes(0xA, b"x")}
    with bystander(tight), counted(tight, "frames", len(pings), len(pings)), Attackers(tight) as attackers:
        for name, ping in pings.items():
            socket = attackers.chat()
            socket.send_leniently(ping * 1500)
            socket.expect_close(4429)
        busy = attackers.chat()
        busy.send(pings["RFC 6455"] * 900)
        for _ in range(900):
            assert busy.frame().opcode == 0xA
        busy.send_json(type="ping")
        assert busy.json()["type"] == "pong"


def test_a_flood_of_empty_fragments_is_refused(tight):
    with bystander(tight), counted(tight, "fragments", 20, 20), Attackers(tight) as attackers:
        for _ in range(20):
            socket = attackers.upgrade("/api/v2/chat/ws")
            socket.send_leniently(frame_bytes(TEXT, b"", final=False) + frame_bytes(CONTINUATION, b"", final=False) * 1100)
            socket.expect_close(1008)


def test_a_huge_frame_is_refused_at_its_header(tight):
    before = resident(tight)
    with bystander(tight), counted(tight, "frame_too_large", 50, 50), Attackers(tight) as attackers:
        for _ in range(50):
            socket = attackers.upgrade("/api/v2/chat/ws")
            socket.send_leniently(struct.pack("!BBQ", 0x81, 0xFF, 1 << 40) + bytes(4))
            socket.expect_close(1009)
        assert resident(tight) - before < 8 * MEBIBYTE


def test_a_compression_bomb_is_not_inflated_beyond_a_message(tight):
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (deflate.compress(bytes(32 * MEBIBYTE)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(bomb) < 65_536
    before = resident(tight)
    with bystander(tight), counted(tight, "inflated_too_large", 60, 60), Attackers(tight) as attackers:
        for _ in range(60):
            socket = attackers.upgrade("/api/v2/chat/ws", headers={"Sec-WebSocket-Extensions": "permessage-deflate"})
            assert "permessage-deflate" in socket.handshake.header("Sec-WebSocket-Extensions")
            socket.send_leniently(frame_bytes(TEXT, bomb, reserved=4))
            socket.expect_close(1009)
        assert resident(tight) - before < 16 * MEBIBYTE


# --- Credentials


def test_bad_credentials_are_bounded_by_address_and_good_ones_are_taken_all_the_time(tight):
    wrong = make_token(secret="another secret of more than thirty-two bytes")
    good = make_token(user=unique())

    def ask(source, **headers):
        with Attackers(tight, source) as attackers:
            connection = attackers.connect()
            connection.send(request_bytes("GET", "/api/v2/chat/conversations", headers))
            return connection.response()

    with bystander(tight), counted(tight, "credentials", 13):
        for _ in range(5):
            check_problem(ask(GUESSER, Authorization=f"Bearer {make_token(ttl=-10)}"), 401)
            check_problem(ask(GUESSER), 401)
        statuses = [ask(GUESSER, Authorization=f"Bearer {wrong}").status for _ in range(30)]
        assert statuses[:20] == [401] * 20 and statuses.count(429) >= 9, statuses
        refused = ask(GUESSER, Authorization=f"Bearer {wrong}")
        check_problem(refused, 429, "rate_limited")
        assert refused.header("Connection") == "close"
        check_problem(ask(GUESSER, **{"X-API-Key": "ck_0123456789abcdef_" + "a" * 43}), 429, "rate_limited")
        assert ask(GUESSER, Authorization=f"Bearer {good}").status == 200
        check_problem(ask(GUESSER, Authorization=f"Bearer {make_token(ttl=-10)}"), 401)
        check_problem(ask(SECOND, Authorization=f"Bearer {wrong}"), 401)
        for source, code in ((GUESSER, 4429), (THIRD, 4401)):
            with Attackers(tight, source) as attackers:
                socket = attackers.upgrade("/api/v2/chat/ws")
                socket.send_json(type="connect", token=wrong)
                socket.expect_close(code)


def test_guest_tokens_are_bounded_by_address(tight):
    with bystander(tight), Attackers(tight, GUESTS) as attackers:
        connection, statuses = attackers.connect(), []
        for _ in range(70):
            connection.send(request_bytes("POST", "/api/v2/auth/guest", {"Content-Type": "application/json"},
                                          b'{"tenant_id":"demo"}'))
            statuses.append(connection.response().status)
        assert statuses[:60] == [200] * 60 and statuses[-1] == 429
        assert metric(tight, 'chat_rate_limited_total{tenant="none",scope="address"}') >= 5


# --- Connections


def test_a_flood_of_connections_leaves_places_to_others_and_descriptors_to_the_stores(tight):
    may_open(2048)

    def fill(attackers, reason, detail):
        """Connects until there is no place; what the one without a place is told."""
        for _ in range(400):
            connection = attackers.connect()
            connection.send_leniently(b"GET /health HTTP/1.1\r\n")  # Half a request: a place for a second.
            connection.socket.settimeout(0.003)
            with contextlib.suppress(AssertionError, ConnectionEnded):
                response = connection.response()
                check_problem(response, 503, "temporarily_unavailable")
                assert detail in response.json["detail"] and response.header("Retry-After") == "5"
                assert response.header("Connection") == "close"
                connection.socket.settimeout(5)
                connection.expect_end()
                return
        raise AssertionError(f"no bound: {reason}")

    with bystander(tight), counted(tight, "address_connections"), counted(tight, "connections"):
        with Attackers(tight) as first, Attackers(tight, SECOND) as second:
            fill(first, "address_connections", "This address")
            # Another address finds a place, until all are taken.
            fill(second, "connections", "The service")
            assert metric_of_process(tight) <= 300 + 64 + 192
            # Those who are told are few: the rest is closed, and nobody waits.
            late = [second.connect() for _ in range(150)]
            for connection in late:
                assert connection.read_to_end(8)[:12] in (b"", b"HTTP/1.1 503", b"HTTP/1.1 408")
    eventually(lambda: tight.anonymous().get("/health").status == 200, 5, "a place for somebody new")


def metric_of_process(service):
    import os
    return len(os.listdir(f"/proc/{service.process.pid}/fd"))


def test_more_connections_than_descriptors_are_a_fault_at_the_start(tmp_path):
    result = run_command("serve", DATA_DIR=tmp_path / "data", PORT=0, HOST="127.0.0.1", MAX_CONNECTIONS=16_777_216)
    assert result.returncode == 78 and "MAX_CONNECTIONS" in result.stderr and "ulimit" in result.stderr, result


# --- TLS


def half_a_hello():
    """The first record of a handshake, cut short."""
    import ssl
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()[:200]


def test_stalled_handshakes_are_bounded_in_number_and_time_and_honest_ones_go_on(start, tmp_path_factory):
    may_open(4096)
    authority = Authority(tmp_path_factory.mktemp("authority"))
    secure = start(authority.client_context(), REACTOR_THREADS=1, HEAD_TIMEOUT_MS=5000,
                   **server_variables(authority.issue("server")))
    assert secure.anonymous().get("/health").status == 200
    before, hello, began = resident(secure), half_a_hello(), time.monotonic()
    with bystander(secure), counted(secure, "slow_handshake", 900), counted(secure, "handshakes", 76, 150):
        with Attackers(secure) as attackers:
            for _ in range(1100):
                attackers.connect(context=None).send(hello)
            assert time.monotonic() - began < 4, "too slow to be an attack"
            assert secure.anonymous().get("/health").status == 200
            # Each honest handshake takes the place of one more that stalls, those of this question too.
            eventually(lambda: shed(secure, "handshakes") >= 76, 5, "the oldest being ended")
            assert resident(secure) - before < 1024 * 60_000 + 16 * MEBIBYTE
            # The oldest went, and the newest did not.
            attackers.opened[0].expect_end(5)
            attackers.opened[-1].socket.settimeout(0.05)
            with pytest.raises((TimeoutError, AssertionError)):
                attackers.opened[-1]._receive()
            for connection in attackers.opened[-20:]:
                connection.expect_end(8)
