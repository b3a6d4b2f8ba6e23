"""HTTPS and WSS on the service's own port: versions, ALPN, mutual TLS, reload, and peers that mean no good."""

import json
import os
import re
import select
import signal
import socket
import ssl
import time

import pytest

from certificates import Authority, openssl, server_variables
from conftest import (BINARY, CLOSE, TEXT, ChatSocket, RawConnection, RawWebSocket, check_problem, eventually, request_bytes,
                      run_command, unique)

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["tls12", "tls13"])
PLAINTEXT = request_bytes("GET", "/bench/plaintext")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def module_launch(tmp_path_factory):
    """As `launch`, for services that all tests of this file share."""
    from conftest import Service
    started = []

    def start(authority, client=None, **variables):
        service = Service(tmp_path_factory.mktemp("tls") / "data", **variables)
        service.tls = authority.client_context(client)
        started.append(service)
        return service.start()

    yield start
    for service in started:
        assert service.is_running(), f"a test killed the service:\n{service.log_tail()}"
        assert service.stop() == 0, service.log_tail()


@pytest.fixture(scope="module")
def secure(module_launch, authority):
    return module_launch(authority, **server_variables(authority.issue("server")))


@pytest.fixture(scope="module")
def mutual(module_launch, authority):
    return module_launch(authority, authority.issue("friend"), **server_variables(authority.issue("mutual"), authority))


@pytest.fixture
def renewable(launch, authority, tmp_path):
    """A service of the test's own, with files that the test may change: (service, identity, client authority's file)."""
    own = Authority(tmp_path / "own", "own")
    identity = own.issue("renewable")
    service = launch(begin=False, **server_variables(identity))
    service.tls = own.client_context()
    service.start()
    return service, own, identity


def counter(service, name, **labels):
    shown = "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else ""
    return int(re.search(rf"^{re.escape(name + shown)} (\d+)$", service.metrics(), re.MULTILINE)[1])


def failed_handshakes(service):
    return counter(service, "chat_tls_handshakes_total", result="failed")


class HandDriven:
    """A TLS client over a raw connection, whose every ciphertext byte the test sends itself."""

    def __init__(self, service, context=None):
        self.connection = service.raw(context=None)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or service.tls).wrap_bio(self.incoming, self.outgoing, server_hostname=service.host)
        self.send = self.connection.send
        self.kept = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def until(self, action, *arguments):
        """Calls a method of the TLS object until it has what it needs."""
        while True:
            try:
                value = getattr(self.tls, action)(*arguments)
                self.flush()
                return value
            except ssl.SSLWantReadError:
                self.flush()
                data = self.connection.socket.recv(65_536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.send(data)

    def response(self):
        """The next response, which has a Content-Length."""
        data, self.kept = self.kept, b""
        while b"\r\n\r\n" not in data:
            data += self.until("read", 65_536)
        head, body = data.split(b"\r\n\r\n", 1)
        count = int(re.search(rb"Content-Length: (\d+)", head)[1])
        while len(body) < count:
            body += self.until("read", 65_536)
        body, self.kept = body[:count], body[count:]
        return head, body


# --- What is spoken


@both_versions
def test_requests_are_answered_over_both_versions(secure, authority, version):
    with secure.raw(context=authority.client_context(version=version)) as connection:
        assert connection.socket.version() == {TLS12: "TLSv1.2", TLS13: "TLSv1.3"}[version]
        assert re.match(r"ECDHE-.*(GCM|POLY1305)|TLS_", connection.socket.cipher()[0])
        assert connection.socket.compression() is None
        for _ in range(3):
            connection.send(PLAINTEXT)
            response = connection.response()
            assert response.status == 200 and len(response.body) == 13
            assert response.header("Strict-Transport-Security") is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_older_versions_are_refused(secure, authority, version):
    context = authority.client_context(version=version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError) as caught:
        secure.raw(context=context)
    assert "ALERT_PROTOCOL_VERSION" in str(caught.value)


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"])
def test_ciphers_without_forward_secrecy_or_with_cbc_are_refused(secure, authority, ciphers):
    context = authority.client_context(version=TLS12)
    context.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError):
        secure.raw(context=context)


def test_the_server_chooses_the_cipher(secure, authority):
    context = authority.client_context(version=TLS12)
    context.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256")
    first = secure.raw(context=context).socket.cipher()[0]
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384")
    assert secure.raw(context=context).socket.cipher()[0] == first


@both_versions
@pytest.mark.parametrize("offer, chosen", [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (None, None)])
def test_alpn_chooses_http_1_1_or_is_left_out(secure, authority, version, offer, chosen):
    with secure.raw(context=authority.client_context(version=version, alpn=offer)) as connection:
        assert connection.socket.selected_alpn_protocol() == chosen
        connection.send(PLAINTEXT)
        assert connection.response().status == 200


@both_versions
def test_alpn_without_http_1_1_gets_the_alert(secure, authority, version):
    before = failed_handshakes(secure)
    with pytest.raises(ssl.SSLError) as caught:
        secure.raw(context=authority.client_context(version=version, alpn=["h2", "spdy/3"]))
    assert "no application protocol" in str(caught.value).lower().replace("_", " ")
    assert failed_handshakes(secure) == before + 1


def test_an_rsa_certificate_serves_as_well(launch, tmp_path):
    own = Authority(tmp_path / "own")
    service = launch(begin=False, **server_variables(own.issue("rsa", "rsa:2048")))
    service.tls = own.client_context()
    service.start()
    assert service.anonymous().get("/health").status == 200


# --- HTTP and WebSocket as before


def test_pipelined_requests_are_answered_in_order(secure):
    with secure.raw() as connection:
        connection.send(b"".join(request_bytes("GET", "/bench/plaintext", {"X-Request-ID": f"p-{n}"}) for n in range(200)))
        assert [connection.response().header("X-Request-ID") for _ in range(200)] == [f"p-{n}" for n in range(200)]


def test_messages_are_sent_and_read_back(secure):
    with secure.raw():
        client = secure.client()
        conversation = client.say("Hello over TLS")["conversation_id"]
        assert [entry["content"]["text"] for entry in client.messages(conversation)][0] == "Hello over TLS"
        client.close()


def test_big_bodies_arrive_whole(secure):
    with secure.raw(timeout=30) as connection:
        for size in (1, 16_383, 16_384, 16_385, 5_000_000):
            connection.send(request_bytes("POST", "/bench/sink", body=os.urandom(size)))
            assert connection.response().json == {"bytes": size}


def test_a_body_that_is_too_large_is_refused_and_the_refusal_is_read(secure):
    with secure.raw() as connection:
        connection.send_leniently(request_bytes("POST", "/api/v2/chat/message", secure.client().authorization(), b"x" * 3_000_000))
        check_problem(connection.response(), 413)
        connection.expect_end()


def test_a_big_echo_comes_back_whole(secure):
    payload = os.urandom(12 << 20)
    with RawWebSocket(secure, "/bench/echo", timeout=60) as echo:
        echo.send_frame(BINARY, payload)
        assert echo.message().payload == payload


def test_a_slow_reader_gets_every_byte(secure):
    """The outbox waits in plain text and is encrypted as it is read."""
    payload = os.urandom(3 << 20)
    with RawWebSocket(secure, "/bench/echo", timeout=60, receive_buffer_bytes=4096) as echo:
        for _ in range(3):
            echo.send_frame(BINARY, payload)
        secure.anonymous().get("/health")
        for _ in range(3):
            assert echo.message().payload == payload


def test_a_socket_that_never_reads_is_shed_with_4408(secure):
    with RawWebSocket(secure, "/bench/broadcast", receive_buffer_bytes=4096, timeout=20) as slow, \
            RawWebSocket(secure, "/bench/broadcast", timeout=30) as sender:
        token = unique().encode()
        slow.send_frame(TEXT, token)
        assert slow.message().payload == token and sender.message().payload == token
        payload, count = os.urandom(60_000), 0
        for count in range(1, 1001):
            sender.send_frame(BINARY, payload)
            assert sender.message().payload == payload
        heard = 0
        while (frame := slow.frame()) and frame.opcode != CLOSE:
            heard += 1
        assert frame and frame.close_code == 4408 and heard < count
        assert counter(secure, "chat_slow_consumers_total") >= 1


def test_a_chat_over_wss(secure):
    client = secure.client()
    with ChatSocket(secure, client) as first, ChatSocket(secure, client, by_header=True, compression="deflate") as second:
        conversation = first.say("Hello")["conversation_id"]
        assert first.expect_message(direction="outbound")["content"]["text"]
        assert second.expect_message(text="Hello", conversation_id=conversation)
        long_text = "long " * 1500
        first.say(long_text, conversation_id=conversation)
        assert second.expect_message(text=long_text)
        second.settle()


def test_a_close_handshake_ends_with_close_notify(secure):
    with RawWebSocket(secure, "/bench/echo") as echo:
        echo.send_frame(CLOSE, b"\x03\xe8")
        assert echo.frame().close_code == 1000
        echo.expect_tcp_end()
        assert not echo.was_cut


# --- Splits


@both_versions
def test_a_connection_that_comes_byte_by_byte_is_served(secure, authority, version):
    with HandDriven(secure, authority.client_context(version=version)) as client:
        def send(data):
            for byte in data:
                client.connection.send(bytes([byte]))
                client.connection.wait_until_read()

        client.send = send
        client.until("do_handshake")
        client.until("write", PLAINTEXT)
        assert client.response()[0].startswith(b"HTTP/1.1 200")


def test_a_finished_and_a_request_that_come_together_are_served(secure, authority):
    with HandDriven(secure, authority.client_context(version=TLS13)) as client:
        late = []
        client.send = lambda data: client.connection.send(data) if len(data) > 200 else late.append(data)
        client.until("do_handshake")
        client.until("write", PLAINTEXT * 2)
        client.until("write", PLAINTEXT)
        client.connection.send(b"".join(late))
        client.send = client.connection.send
        for _ in range(3):
            assert client.response()[0].startswith(b"HTTP/1.1 200")


# --- Ends


@pytest.mark.parametrize("headers", [{"Connection": "close"}])
def test_close_notify_comes_before_the_end(secure, headers):
    with secure.raw() as connection:
        connection.send(request_bytes("GET", "/bench/plaintext", headers))
        assert connection.response().status == 200
        connection.expect_end()
        assert not connection.was_cut


def test_close_notify_follows_a_refusal(secure):
    with secure.raw() as connection:
        connection.send(b"NOT HTTP\r\n\r\n")
        assert connection.response().status == 400
        connection.expect_end()
        assert not connection.was_cut


@both_versions
def test_close_notify_is_answered(secure, authority, version):
    with secure.raw(context=authority.client_context(version=version)) as connection:
        connection.send(PLAINTEXT)
        connection.response()
        connection.socket.unwrap().close()


@both_versions
def test_what_was_asked_before_close_notify_is_answered(secure, authority, version):
    """A half-close, as TLS 1.3 allows it: request and end in one segment."""
    client_of = secure.client()
    for asked in (PLAINTEXT, request_bytes("POST", "/api/v2/chat/message", {
            **client_of.authorization(), "Content-Type": "application/json"},
            json.dumps(client_of.message_body("Last words")).encode())):
        with HandDriven(secure, authority.client_context(version=version)) as client:
            client.until("do_handshake")
            client.tls.write(asked)
            with pytest.raises(ssl.SSLWantReadError):
                client.tls.unwrap()
            client.flush()
            # Python's object reads no data any more; that it all came is seen by its length and by the clean end.
            received = b""
            while data := client.connection.socket.recv(65_536):
                received += data
            assert len(received) > 100


def test_the_same_with_an_api_key_that_has_to_be_looked_up_first(secure):
    key = secure.create_api_key("demo")["secret"]
    with HandDriven(secure) as client:
        client.until("do_handshake")
        client.tls.write(request_bytes("GET", "/api/v2/chat/conversations", {"X-API-Key": key}))
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.flush()
        received = b""
        while data := client.connection.socket.recv(65_536):
            received += data
        # The tickets of TLS 1.3 and close_notify alone are shorter.
        assert len(received) > 700, len(received)


def test_a_truncated_end_is_an_end(secure):
    """FIN without close_notify: what was asked as a whole is answered, what was asked by half is not."""
    with HandDriven(secure) as client:
        client.until("do_handshake")
        client.until("write", PLAINTEXT)
        client.connection.socket.shutdown(socket.SHUT_WR)
        assert client.response()[0].startswith(b"HTTP/1.1 200")
    with HandDriven(secure) as client:
        client.until("do_handshake")
        client.until("write", request_bytes("POST", "/bench/sink", {"Content-Length": "100"}, b"half"))
        client.connection.socket.shutdown(socket.SHUT_WR)
        with pytest.raises(ssl.SSLError):
            while True:
                assert not client.until("read", 65_536)
                raise ssl.SSLError("a clean end is fine too")
    assert secure.anonymous().get("/health").status == 200


def test_clients_that_vanish_at_any_moment_harm_nobody(secure, authority):
    opened = counter(secure, "chat_connections")
    with HandDriven(secure) as client:
        client.until("do_handshake")
        client.until("write", PLAINTEXT)
    flights = []
    with HandDriven(secure) as recorder:
        recorder.send = lambda data: (flights.append(data), recorder.connection.send(data))
        recorder.until("do_handshake")
    hello = flights[0]
    for cut in (0, 1, 4, 5, 6, 50, len(hello) - 1, len(hello)):
        for leave in ("close", "reset"):
            connection = secure.raw(context=None)
            connection.send_leniently(hello[:cut])
            getattr(connection, leave)()
    for _ in range(10):
        connection = secure.raw()
        connection.send(request_bytes("GET", "/openapi.yaml") * 5)
        connection.reset()
    eventually(lambda: counter(secure, "chat_connections") <= opened + 1, 10, "the end of what vanished")


def test_the_end_of_the_service_is_told_with_close_notify(launch, authority):
    service = launch(begin=False, **server_variables(authority.issue("ending")))
    service.tls = authority.client_context()
    service.start()
    idle, silent = service.raw(), service.raw(context=None)
    idle.send(PLAINTEXT)
    idle.response()
    chat = ChatSocket(service, service.client())
    service.process.send_signal(signal.SIGTERM)
    chat.expect_close(1001)
    idle.expect_end()
    assert not idle.was_cut
    for connection in (idle, silent, chat):
        connection.close()
    assert service.process.wait(20) == 0


# --- Resumption


@both_versions
def test_sessions_resume_on_any_core(secure, authority, version):
    context = authority.client_context(version=version)
    with secure.raw(context=context) as first:
        first.send(PLAINTEXT)
        first.response()
        session = first.socket.session
        assert not first.socket.session_reused
    before = counter(secure, "chat_tls_resumptions_total")
    # The kernel spreads connections over the cores' listeners.
    for _ in range(20):
        with secure.raw(context=context, session=session) as again:
            assert again.socket.session_reused
            again.send(PLAINTEXT)
            assert again.response().status == 200
    assert counter(secure, "chat_tls_resumptions_total") - before >= 20


# --- Mutual TLS


@both_versions
def test_a_client_of_the_authority_is_let_in(mutual, authority, version):
    with mutual.raw(context=authority.client_context(authority.issue("guest"), version)) as connection:
        connection.send(PLAINTEXT)
        assert connection.response().status == 200


@both_versions
@pytest.mark.parametrize("who", ["nobody", "a stranger", "a forger"])
def test_other_clients_are_refused(mutual, authority, stranger, tmp_path, version, who):
    identity = None
    if who == "a stranger":
        identity = stranger.issue("guest")
    elif who == "a forger":
        identity = Authority(tmp_path / "forged").issue("guest")  # An authority of the same name.
    before = failed_handshakes(mutual)
    with pytest.raises((ssl.SSLError, ConnectionResetError)) as caught:
        with mutual.raw(context=authority.client_context(identity, version)) as connection:
            connection.send(PLAINTEXT)
            connection.socket.recv(100)  # TLS 1.3 tells a client after its own handshake is over.
    if caught.type is ssl.SSLError:
        assert re.search("CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE|UNKNOWN_CA|DECRYPT_ERROR|BAD_CERTIFICATE", str(caught.value))
    eventually(lambda: failed_handshakes(mutual) == before + 1, 5, "the failed handshake's count")


# --- Reload


def shown(service):
    with service.raw() as connection:
        return connection.socket.getpeercert(binary_form=True)


def records(service, part):
    return [record for record in map(json.loads, filter(None, service.log().split("\n")[:-1])) if part in record["msg"]]


def reload(service, part, count=1):
    service.process.send_signal(signal.SIGHUP)
    return eventually(lambda: (found := records(service, part)) and len(found) >= count and found, 5, f"a log line with {part}")


def test_a_reload_changes_new_handshakes_and_no_connection(renewable):
    service, own, identity = renewable
    client = service.client()
    chat, kept = ChatSocket(service, client), service.raw()
    kept.send(PLAINTEXT)
    kept.response()
    old = shown(service)
    assert old == identity.der
    fresh = own.issue("renewed")
    fresh.copy_to(identity)
    assert shown(service) == old, "nothing changes before the signal"
    found = reload(service, "files were reloaded")
    assert len(found) == 1 and found[0]["level"] == "INFO"
    assert shown(service) == fresh.der != old
    kept.send(PLAINTEXT)
    assert kept.response().status == 200
    assert kept.socket.getpeercert(binary_form=True) == old
    chat.say("Still here")
    assert chat.expect_message(direction="outbound")
    with ChatSocket(service, client) as second:
        chat.say("And heard by the new one")
        assert second.expect_message(text="And heard by the new one")
    chat.close()
    kept.close()


@pytest.mark.parametrize("broken", ["certificate", "key", "pair", "gone"])
def test_a_reload_of_broken_files_leaves_the_old_ones(renewable, broken):
    service, own, identity = renewable
    old = shown(service)
    good_certificate, good_key = identity.certificate.read_bytes(), identity.key.read_bytes()
    chat = ChatSocket(service, service.client())
    if broken == "certificate":
        identity.certificate.write_text("-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n")
    elif broken == "key":
        identity.key.write_bytes(b"")
    elif broken == "pair":
        identity.key.write_bytes(own.issue("another").key.read_bytes())
    else:
        identity.certificate.unlink()
    found = reload(service, "files were not reloaded")
    assert len(found) == 1 and found[0]["level"] == "ERROR"
    assert ("TLS_CERT_FILE" if broken in ("certificate", "gone") else "TLS_KEY_FILE") in found[0]["msg"]
    assert shown(service) == old
    chat.say("Still here")
    identity.certificate.write_bytes(good_certificate)
    identity.key.write_bytes(good_key)
    reload(service, "files were reloaded")
    assert shown(service) == old
    chat.say("And still")
    chat.close()


def test_a_client_authority_that_is_replaced_lets_nobody_in_any_more(launch, tmp_path):
    own, late = Authority(tmp_path / "own", "own"), Authority(tmp_path / "late", "late")
    service = launch(begin=False, **server_variables(own.issue("server"), own))
    context = service.tls = own.client_context(own.issue("guest"))
    service.start()
    with service.raw() as connection:
        connection.send(PLAINTEXT)
        connection.response()
        session = connection.socket.session
    own.certificate.write_bytes(late.certificate.read_bytes())
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: records(service, "files were reloaded"), 5, "the reload")
    for resumed in (None, session):
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            with service.raw(context=context, session=resumed) as connection:
                connection.send(PLAINTEXT)
                connection.socket.recv(100)
    context.load_cert_chain(*(lambda guest: (guest.certificate, guest.key))(late.issue("guest")))
    with service.raw(context=context) as connection:
        connection.send(PLAINTEXT)
        assert connection.response().status == 200


def test_without_tls_a_reload_does_nothing(launch):
    service = launch()
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: records(service, "SIGHUP"), 5, "the log line")
    assert service.anonymous().get("/health").status == 200


def test_many_reloads_under_load_lose_nothing(renewable):
    service, own, identity = renewable
    others = [own.issue(f"n{number}") for number in range(2)]
    with service.raw() as kept:
        for number in range(20):
            others[number % 2].copy_to(identity)
            service.process.send_signal(signal.SIGHUP)
            for _ in range(5):
                with service.raw() as connection:
                    connection.send(PLAINTEXT)
                    assert connection.response().status == 200
            kept.send(PLAINTEXT)
            assert kept.response().status == 200


# --- Hostile peers


@pytest.mark.parametrize("garbage", [
    b"\x00" * 1000, b"\xff" * 20_000, b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 1000,
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x17\x03\x03\x00\x10" + b"y" * 16, b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x80\x2e\x01\x00\x02" + b"z" * 60,
])
def test_garbage_in_place_of_a_client_hello_ends_the_connection(secure, garbage):
    before, broken = failed_handshakes(secure), counter(secure, "chat_tls_failures_total")
    with secure.raw(context=None) as connection:
        connection.send_leniently(garbage)
        connection.send_leniently(garbage)
        answer = connection.read_to_end()
        assert len(answer) <= 7 and answer[:1] in (b"", b"\x15"), "an alert at the most"
    assert failed_handshakes(secure) == before + 1 and counter(secure, "chat_tls_failures_total") == broken


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
def test_plain_http_is_told_so(secure, method):
    with secure.raw(context=None) as connection:
        connection.send(request_bytes(method, "/health", body=b"{}" if method in ("POST", "PUT") else None) * 3)
        problem = check_problem(connection.response(), 400)
        assert "https" in problem["detail"]
        connection.expect_end()


def test_garbage_after_the_handshake_ends_the_connection(secure):
    before = counter(secure, "chat_tls_failures_total")
    with HandDriven(secure) as client:
        client.until("do_handshake")
        client.until("write", PLAINTEXT)
        client.response()
        client.connection.send(b"\x17\x03\x03\x00\x20" + b"g" * 32 + b"\x00" * 5000)
        with pytest.raises(ssl.SSLError) as caught:
            client.until("read", 100)
        assert "BAD_RECORD_MAC" in str(caught.value)
    assert counter(secure, "chat_tls_failures_total") == before + 1


def test_a_broken_record_inside_a_streamed_body_ends_the_connection(secure):
    opened = counter(secure, "chat_connections")
    with HandDriven(secure) as client:
        client.until("do_handshake")
        client.until("write", request_bytes("POST", "/bench/sink", {"Content-Length": "100000"}, b"some"))
        client.connection.wait_until_read()
        client.connection.send(b"\x17\x03\x03\x00\x20" + b"g" * 32)
        with pytest.raises(ssl.SSLError):
            client.until("read", 100)
    eventually(lambda: counter(secure, "chat_connections") <= opened, 5, "the end of the connection")


def test_a_broken_record_ends_a_chat_and_nothing_else(secure):
    user = secure.client()
    with ChatSocket(secure, user) as other, HandDriven(secure) as client:
        client.until("do_handshake")
        client.until("write", request_bytes("GET", "/api/v2/chat/ws", {
            **user.authorization(), "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}))
        assert client.until("read", 1000).startswith(b"HTTP/1.1 101")
        sockets = counter(secure, "chat_ws_connections")
        client.connection.send(b"\x17\x03\x03\x00\x20" + b"g" * 32)
        eventually(lambda: counter(secure, "chat_ws_connections") == sockets - 1, 5, "the end of the socket")
        other.say("Nobody else noticed")


def test_the_log_tells_why_a_handshake_failed_at_debug_only(launch, authority):
    for level, expected in (("DEBUG", 1), ("INFO", 0)):
        service = launch(f"data-{level}", begin=False, LOG_LEVEL=level, **server_variables(authority.issue("logged")))
        service.tls = authority.client_context()
        service.start()
        with service.raw(context=None) as connection:
            connection.send(b"\x00" * 100)
            connection.read_to_end()
        found = records(service, "TLS failed")
        assert len(found) == expected and all(record["reason"] for record in found)


@pytest.mark.slow
def test_a_handshake_that_does_not_go_on_is_closed_by_the_time_limit(secure):
    """Silent from the start, stuck after a few bytes, stuck after the hello, and one that drips."""
    before, hellos = failed_handshakes(secure), []
    with HandDriven(secure) as recorder:
        recorder.send = lambda data: (hellos.append(data), recorder.connection.send(data))
        recorder.until("do_handshake")
    stuck = [secure.raw(context=None, timeout=25) for _ in range(4)]
    began = time.monotonic()
    stuck[1].send(hellos[0][:20])
    stuck[2].send(hellos[0])
    for byte in hellos[0][:100]:
        stuck[3].send_leniently(bytes([byte]))
        if select.select([stuck[3].socket], [], [], 0.15)[0]:
            break
    for connection in stuck:
        connection.read_to_end(seconds=15)
        assert time.monotonic() - began < 20
        connection.close()
    eventually(lambda: failed_handshakes(secure) == before + 3, 5, "the count of those that began")


# --- Start


def test_the_ready_line_and_the_first_curl_say_https(launch, authority):
    service = launch(begin=False, JWT_SECRET=None, **server_variables(authority.issue("ready")))
    service.tls = authority.client_context()
    service.start()
    assert service.url.startswith("https://127.0.0.1:")
    eventually(lambda: "curl" in "\n".join(service.stdout_lines), 5, "the curl command")
    assert f"curl -X POST {service.url}/" in "\n".join(service.stdout_lines)


@pytest.mark.parametrize("command", ["check-config", "serve"])
@pytest.mark.parametrize("variables, told", [
    ({"TLS_CERT_FILE": "c.pem"}, "TLS_KEY_FILE: required when TLS_CERT_FILE is set"),
    ({"TLS_KEY_FILE": "k.pem"}, "TLS_CERT_FILE: required when TLS_KEY_FILE is set"),
    ({"TLS_CLIENT_CA_FILE": "a.pem"}, "TLS_CLIENT_CA_FILE: needs TLS_CERT_FILE and TLS_KEY_FILE"),
    ({"TLS_CERT_FILE": "/no/c.pem", "TLS_KEY_FILE": "/no/k.pem"}, 'TLS_CERT_FILE: "/no/c.pem"'),
])
def test_a_bad_configuration_is_told_with_78(tmp_path, command, variables, told):
    result = run_command(command, DATA_DIR=tmp_path / "data", PORT=0, HOST="127.0.0.1", **variables)
    assert result.returncode == 78 and told in result.stderr, result


@pytest.mark.parametrize("fault, variable, told", [
    ("swapped", "TLS_CERT_FILE", "certificate chain"), ("pair", "TLS_KEY_FILE", "not the key of"),
    ("locked", "TLS_KEY_FILE", "passphrase"), ("authority", "TLS_CLIENT_CA_FILE", "holds no certificates"),
])
def test_files_that_are_of_no_use_are_told_with_78(tmp_path, fault, variable, told):
    own = Authority(tmp_path / "own")
    identity, other = own.issue("server"), own.issue("other")
    variables = server_variables(identity)
    if fault == "swapped":
        variables.update(TLS_CERT_FILE=identity.key, TLS_KEY_FILE=identity.certificate)
    elif fault == "pair":
        variables.update(TLS_KEY_FILE=other.key)
    elif fault == "locked":
        openssl("pkey", "-in", identity.key, "-aes128", "-passout", "pass:hunter2", "-out", tmp_path / "locked.key")
        variables.update(TLS_KEY_FILE=tmp_path / "locked.key")
    else:
        variables.update(TLS_CLIENT_CA_FILE=identity.key)
    for command in ("check-config", "serve"):
        result = run_command(command, DATA_DIR=tmp_path / "data", PORT=0, HOST="127.0.0.1", **variables)
        assert result.returncode == 78, result
        assert result.stderr.startswith(f"chat-service: {variable}: ") and told in result.stderr, result
        assert len(result.stderr.strip().split("\n")) == 1, "one line for each fault"
