"""The commands: administration beside a running service, and `send` and `tail` through its own interface."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from certificates import Authority, server_variables
from conftest import (apart_from_status, JWT_SECRET, ChatSocket, binary, check_problem, clean_environment, eventually, make_token,
                      run_command, unique)
from test_drain import free_port
from test_events import EventStream

ADMINISTRATION = [["tenant", "list"], ["tenant", "show", "demo"], ["tenant", "create", "fresh"],
                  ["tenant", "set", "demo", "--rate", "9"], ["apikey", "list"], ["apikey", "create", "--tenant", "demo"],
                  ["token", "issue", "--tenant", "demo", "--user", "x"], ["check-config"]]


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


# --- Administration


@pytest.mark.parametrize("arguments", ADMINISTRATION, ids=" ".join)
def test_every_command_speaks_json_and_for_people(tmp_path, arguments):
    made = run_command("apikey", "create", "--tenant", "acme", "--json", DATA_DIR=tmp_path / "data")
    assert made.returncode == 0 and lines(made)
    for extra in ([], ["--json"]):
        result = run_command(*arguments, *extra, DATA_DIR=tmp_path / "data", JWT_SECRET=JWT_SECRET)
        if arguments[:2] == ["tenant", "create"] and extra:
            assert result.returncode == 64 and "fresh already" in result.stderr
            result = run_command("tenant", "create", "other", *extra, DATA_DIR=tmp_path / "data")
        assert result.returncode == 0 and result.stderr == "", result
        if extra:
            assert all(isinstance(line, dict) for line in lines(result)) and lines(result)


@pytest.mark.parametrize("arguments", [["tenant", "list"], ["tenant", "show", "x"], ["tenant", "set", "x", "--guests"],
                                       ["apikey", "list"], ["apikey", "revoke", "0" * 16]], ids=" ".join)
def test_who_asks_in_the_wrong_place_is_told_and_nothing_is_made_there(tmp_path, arguments):
    result = run_command(*arguments, DATA_DIR=tmp_path / "wrong")
    assert result.returncode == 78 and "DATA_DIR" in result.stderr and str(tmp_path / "wrong") in result.stderr
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("arguments", [
    ["tenant", "show", "nobody"], ["tenant", "set", "nobody", "--guests"], ["apikey", "create", "--tenant", "nobody"],
    ["apikey", "list", "--tenant", "nobody"], ["token", "issue", "--tenant", "nobody", "--user", "x"],
], ids=" ".join)
def test_an_unknown_tenant_is_answered_with_those_that_are(service, arguments):
    result = service.command(*arguments)
    assert result.returncode == 64 and "nobody" in result.stderr and "demo" in result.stderr and "acme" in result.stderr


@pytest.mark.parametrize("arguments", [
    ["tenant", "create", "Shop"], ["tenant", "create", "a b"], ["tenant", "create", ""], ["tenant", "create", "x" * 65],
    ["tenant", "create", ".x"], ["tenant", "create", "a/b"], ["tenant", "create", "é"], ["tenant", "create", "a\nb"],
    ["tenant", "create", "x", "--rate", "0"], ["tenant", "create", "x", "--rate", "-1"],
    ["tenant", "create", "x", "--rate", "many"], ["tenant", "create", "x", "--burst", "10000000000"],
    ["tenant", "create", "x", "--run-policy", "never"], ["tenant", "create", "x", "--origin", "shop"],
    ["tenant", "set", "demo"], ["tenant", "set", "demo", "--no-origins", "--origin", "*"],
    ["apikey", "create", "--tenant", "demo", "--ttl", "0"], ["apikey", "create", "--tenant", "demo", "--name", "a\x1bb"],
    ["apikey", "create", "--tenant", "demo", "--ttl", "99999999999"], ["apikey", "revoke", "xyz"],
    ["apikey", "revoke", "00"], ["apikey", "revoke", "7" * 16], ["token", "issue", "--tenant", "demo", "--user", "x", "--ttl", "0"],
], ids=repr)
def test_what_cannot_be_is_refused_with_64_and_a_sentence(service, arguments):
    before = service.command("tenant", "list").stdout
    result = service.command(*arguments)
    assert result.returncode == 64 and result.stdout == "", result
    assert result.stderr.strip() and "Fatal error" not in result.stderr and "\x1b" not in result.stderr
    assert service.command("tenant", "list").stdout == before


def test_a_tenant_has_what_it_was_given_and_a_change_leaves_the_rest(tmp_path):
    def command(*arguments):
        result = run_command(*arguments, "--json", DATA_DIR=tmp_path / "data")
        assert result.returncode == 0, result
        return lines(result)[0]

    made = command("tenant", "create", "shop", "--guests", "--rate", "60", "--burst", "7", "--user-rate", "6",
                   "--user-burst", "3", "--run-policy", "burst", "--origin", "https://a.example", "--origin", "https://b.example")
    assert made == {"name": "shop", "guests": True, "rate": 60, "burst": 7, "user_rate": 6, "user_burst": 3,
                    "run_policy": "burst", "auto_close_seconds": 0, "origins": ["https://a.example", "https://b.example"]}
    assert command("tenant", "show", "shop") == made
    changed = command("tenant", "set", "shop", "--no-guests", "--rate", "default")
    assert changed == {**made, "guests": False, "rate": None}
    assert command("tenant", "set", "shop", "--no-origins")["origins"] == []
    assert command("tenant", "show", "shop") == {**changed, "origins": []}
    shown = run_command("tenant", "show", "shop", DATA_DIR=tmp_path / "data", DEFAULT_RATE_LIMIT=123).stdout
    assert "rate: (123)" in shown and "burst: 7" in shown


def test_a_secret_is_shown_once(tmp_path):
    made = lines(run_command("apikey", "create", "--tenant", "demo", "--name", "n", "--ttl", "3600", "--role", "agent,ops",
                             "--json", DATA_DIR=tmp_path / "data"))[0]
    assert made["secret"].startswith("ck_") and made["roles"] == ["agent", "ops"] and made["state"] == "active"
    assert made["expires_at"] > made["created_at"]
    for extra in ([], ["--json"], ["--tenant", "demo"]):
        listed = run_command("apikey", "list", *extra, DATA_DIR=tmp_path / "data")
        assert made["id"] in listed.stdout and made["secret"].split("_")[2] not in listed.stdout
    assert run_command("apikey", "list", "--tenant", "acme", DATA_DIR=tmp_path / "data").stdout == ""
    assert run_command("apikey", "revoke", made["id"], DATA_DIR=tmp_path / "data").returncode == 0
    assert lines(run_command("apikey", "list", "--json", DATA_DIR=tmp_path / "data"))[0]["state"] == "revoked"


def test_a_directory_that_is_locked_or_damaged_is_told(tmp_path):
    data = tmp_path / "data"
    assert run_command("tenant", "create", "shop", DATA_DIR=data).returncode == 0
    holder = sqlite3.connect(data / "directory.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    result = run_command("tenant", "set", "shop", "--rate", "5", DATA_DIR=data)
    assert result.returncode == 69 and "locked" in result.stderr, result
    holder.execute("ROLLBACK")
    holder.close()
    for file in data.glob("directory.db*"):
        file.unlink()
    (data / "directory.db").write_bytes(b"this is no database" * 1000)
    result = run_command("tenant", "list", DATA_DIR=data)
    assert result.returncode == 69 and "directory" in result.stderr, result


# --- What a running service makes of it


def guest(service, tenant, **headers):
    return service.anonymous(**headers).post("/api/v2/auth/guest", {"tenant_id": tenant})


def test_a_tenant_that_is_made_while_the_service_runs_is_served(launch):
    service = launch(CONFIG_CACHE_TTL=1)
    kept = service.client()
    before = kept.say("Hello")["conversation_id"]
    assert guest(service, "fresh").status == 403
    assert service.command("tenant", "create", "fresh", "--guests", "--origin", "https://f.example").returncode == 0
    eventually(lambda: guest(service, "fresh").status == 200, 5, "the new tenant")
    client = service.client(tenant="fresh")
    conversation = client.say("Hello")["conversation_id"]
    assert len(client.messages(conversation)) == 2, "the store knows it too"
    with ChatSocket(service, client) as chat:
        assert chat.connected["tenant_id"] == "fresh"
        assert chat.subscribe(conversation)["last_seq"] == 2
    answer = guest(service, "fresh", Origin="https://f.example")
    assert answer.header("Access-Control-Allow-Origin") == "https://f.example"
    assert kept.say("Still there?", conversation_id=before)["conversation_id"] == before
    assert 'tenant="fresh"' in service.metrics()
    assert service.command("tenant", "set", "fresh", "--no-guests", "--rate", "60", "--burst", "5").returncode == 0
    eventually(lambda: guest(service, "fresh").status == 403, 5, "the change")
    assert '"tenant";q=60' in client.get("/api/v2/chat/conversations").header("RateLimit-Policy")
    assert service.restart().client(client.user, tenant="fresh").messages(conversation)


def test_a_signal_makes_changes_count_at_once(launch):
    service = launch(CONFIG_CACHE_TTL=300)
    key = service.create_api_key("acme", "service")
    client = service.anonymous(**{"X-API-Key": key["secret"]})
    assert client.get("/api/v2/chat/conversations").status == 200
    for arguments in (["tenant", "set", "demo", "--no-guests"], ["apikey", "revoke", key["id"]]):
        assert service.command(*arguments).returncode == 0
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: "SIGHUP: tenants were reloaded" in service.log(), 2, "the log line")
    eventually(lambda: guest(service, "demo").status == 403, 2, "the change on every core")
    eventually(lambda: client.get("/api/v2/chat/conversations").status == 401, 2, "the revocation on every core")


def test_a_tenant_whose_row_is_gone_is_not_mistaken_for_another(launch):
    service = launch(CONFIG_CACHE_TTL=1)
    client = service.client(tenant="acme")
    conversation = client.say("Mine")["conversation_id"]
    with sqlite3.connect(service.data_directory / "directory.db") as rows:
        rows.execute("DELETE FROM tenants WHERE name='demo'")
    eventually(lambda: guest(service, "demo").status == 403, 5, "the end of demo")
    assert service.command("tenant", "create", "later").returncode == 0
    eventually(lambda: service.client(tenant="later").get("/api/v2/chat/conversations").status == 200, 5, "later")
    assert [one["content"]["text"] for one in client.messages(conversation)][0] == "Mine"
    assert service.client(client.user, tenant="later").conversations()["data"] == []
    check_problem(service.client(client.user, tenant="demo").get("/api/v2/chat/conversations"), (401, 403))


def test_a_damaged_directory_changes_nothing_for_those_who_are_served(launch):
    service = launch(CONFIG_CACHE_TTL=1)
    client = service.client()
    with sqlite3.connect(service.data_directory / "directory.db") as rows:
        rows.execute("ALTER TABLE tenants RENAME TO elsewhere")
    eventually(lambda: "tenants were not reloaded" in service.log(), 5, "the log line")
    assert client.say("Hello")["message"]["seq"] == 1
    with sqlite3.connect(service.data_directory / "directory.db") as rows:
        rows.execute("DROP TABLE IF EXISTS tenants")
        rows.execute("ALTER TABLE elsewhere RENAME TO tenants")
    assert service.command("tenant", "create", "fresh", "--guests").returncode == 0
    eventually(lambda: guest(service, "fresh").status == 200, 5, "the recovery")


def test_what_a_revoked_key_holds_open_ends(launch):
    service = launch(CONFIG_CACHE_TTL=1)
    doomed, kept = (service.create_api_key("demo", "agent", name) for name in ("doomed", "kept"))
    client = service.client()
    conversation = client.handed_to_human()
    headers = {"X-API-Key": doomed["secret"]}
    anonymous = service.anonymous()
    anonymous.authorization = lambda: headers
    socket = ChatSocket(service, anonymous, by_header=True)
    stream = EventStream(service, anonymous, conversation).open()
    other = service.anonymous()
    other.authorization = lambda: {"X-API-Key": kept["secret"]}
    survivor = ChatSocket(service, other, by_header=True)
    own = ChatSocket(service, client)
    assert service.command("apikey", "revoke", doomed["id"]).returncode == 0
    socket.expect_close(4401, timeout=6)
    stream.to_end()
    assert stream.ended_orderly
    survivor.settle()
    own.settle()
    for one in (socket, survivor, own):
        one.close()


def test_a_key_expires(launch):
    service = launch(CONFIG_CACHE_TTL=1)
    result = service.command("apikey", "create", "--tenant", "acme", "--ttl", "2", "--json")
    client = service.anonymous(**{"X-API-Key": lines(result)[0]["secret"]})
    assert client.get("/api/v2/chat/conversations").status == 200
    eventually(lambda: client.get("/api/v2/chat/conversations").status == 401, 6, "the expiry")
    assert lines(service.command("apikey", "list", "--json"))[0]["state"] == "expired"


def test_keys_work_when_nothing_is_to_be_cached(launch):
    service = launch(CONFIG_CACHE_TTL=0)
    client = service.anonymous(**{"X-API-Key": service.create_api_key("acme", "service")["secret"]})
    for _ in range(3):
        assert client.get("/api/v2/chat/conversations").status == 200


def test_the_log_level_is_read_again(launch, tmp_path):
    settings = tmp_path / "settings"
    settings.write_text("# levels\nLOG_LEVEL=WARNING\n")
    service = launch(ENV_FILE=settings)
    service.client().say("Hello")
    assert '"level":"INFO"' not in service.log() and '"level":"DEBUG"' not in service.log()
    settings.write_text('LOG_LEVEL="DEBUG"\n')
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: "the log level is set" in service.log(), 2, "the log line")
    eventually(lambda: service.anonymous().get("/health") and '"msg":"request"' in service.log(), 5, "each request")
    settings.write_text("LOG_LEVEL=LOUD\n")
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: "is not accepted" in service.log(), 2, "the complaint")
    settings.unlink()
    service.process.send_signal(signal.SIGHUP)
    eventually(lambda: "cannot be read" in service.log(), 2, "the complaint")
    assert service.stop() == 0
    result = run_command("check-config", ENV_FILE=settings, DATA_DIR=tmp_path / "x")
    assert result.returncode == 78 and "ENV_FILE" in result.stderr and str(settings) in result.stderr


# --- send


def send(service, *arguments, text="Hello", stdin=None, credential=None, url=None, **variables):
    """The environment of a user: an address and at most one credential."""
    environment = clean_environment(CHAT_URL=url or service.url, **(credential or {}), **variables)
    return subprocess.run([binary(), "send", *arguments, *([text] if text else [])], env=environment, text=True, timeout=60,
                          input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def token_of(user, **options):
    return {"CHAT_TOKEN": make_token(user, **options)}


def test_a_guest_is_answered(service):
    result = send(service)
    assert result.returncode == 0 and result.stdout == "Hello! How can I help you today?\n", result
    assert re.search(r"conversation conv_\S+, message 1", result.stderr)


def test_a_guest_is_refused_where_the_tenant_wants_none(service):
    result = send(service, "--tenant", "acme")
    assert result.returncode == 64 and "does not take guests" in result.stderr and "--token" in result.stderr, result


def test_the_answer_comes_as_json_too(service):
    user = unique()
    answer = json.loads(send(service, "--json", credential=token_of(user)).stdout)
    assert answer["status"] == "answered" and answer["message"]["sender"]["id"] == user
    again = json.loads(send(service, "--json", "--conversation", answer["conversation_id"], credential=token_of(user)).stdout)
    assert again["message"]["seq"] == 3


def test_a_key_makes_repetitions_safe(service):
    user, key = unique(), unique("key")
    first = send(service, "--json", "--key", key, credential=token_of(user))
    second = send(service, "--json", "--key", key, credential=token_of(user))
    assert json.loads(first.stdout)["message"] == json.loads(second.stdout)["message"]
    assert "sent before under this key" in send(service, "--key", key, credential=token_of(user)).stderr
    other = send(service, "--key", key, text="Another", credential=token_of(user))
    assert other.returncode == 64 and "idempotency_mismatch" in other.stderr


def test_an_api_key_needs_to_know_for_whom(service):
    credential = {"CHAT_API_KEY": service.create_api_key("acme", "service")["secret"]}
    assert send(service, credential=credential).returncode == 64
    user = unique()
    assert send(service, "--user", user, credential=credential).returncode == 0
    assert len(service.client(user, tenant="acme").conversations()["data"]) == 1


@pytest.mark.parametrize("stdin,text", [("One line\n", "One line"), ("Two\nlines\n", "Two\nlines"), ("é漢😀", "é漢😀")], ids=repr)
def test_the_text_comes_from_standard_input(service, stdin, text):
    user = unique()
    answer = json.loads(send(service, "--json", text="-", stdin=stdin, credential=token_of(user)).stdout)
    assert answer["message"]["content"]["text"] == text


def test_words_are_joined(service):
    result = send(service, "--json", "several", "words", text="here", credential=token_of(unique()))
    assert json.loads(result.stdout)["message"]["content"]["text"] == "several words here"


@pytest.mark.parametrize("arguments", [
    [""], [], ["--key", "a b", "x"], ["--key", "k" * 129, "x"], ["--key", "a\r\nX-Tenant-ID: acme", "x"],
    ["--conversation", "conv_1", "x"], ["--conversation", "../../admin", "x"], ["--url", "ftp://host", "x"],
    ["--url", "http://", "x"], ["--url", "http://u:secret@host", "x"], ["--url", "127.0.0.1:8001", "x"],
    ["--token", "a", "--api-key", "b", "x"], ["--token", "a\r\nHost: b", "x"], ["--token", "not.a.token", "x"],
    ["--wait", "-1", "x"], ["--wait", "soon", "x"], ["--cacert", "/nonexistent", "--url", "https://127.0.0.1:1", "x"],
], ids=repr)
def test_what_cannot_be_sent_is_refused_with_64(service, arguments):
    result = send(service, *arguments, text=None)
    assert result.returncode == 64 and result.stderr.strip() and "secret" not in result.stderr, result


def test_text_that_is_too_long_is_refused_in_the_services_words(service):
    result = send(service, text="x" * 10_001, credential=token_of(unique()))
    assert result.returncode == 64 and "422" in result.stderr and "validation_failed" in result.stderr


def test_credentials_are_never_shown(service):
    secrets = {"CHAT_TOKEN": make_token("x", secret="wrong" * 20)}
    result = send(service, credential=secrets)
    assert result.returncode == 64 and "401" in result.stderr and secrets["CHAT_TOKEN"] not in result.stdout + result.stderr
    for arguments in (["send", "--help"], ["tail", "--help"]):
        shown = run_command(*arguments, CHAT_TOKEN="very-secret", CHAT_API_KEY="very-secret").stdout
        assert "CHAT_TOKEN" in shown and "CHAT_API_KEY" in shown and "CHAT_URL" in shown and "very-secret" not in shown


def test_a_service_that_is_not_there_is_told_with_69(service):
    began = time.monotonic()
    result = send(service, "--wait", "1", url=f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 69 and "cannot be reached" in result.stderr and result.stdout == ""
    assert time.monotonic() - began < 5
    result = send(service, "--wait", "0", url="http://no-such-host.invalid")
    assert result.returncode == 69 and "no-such-host" in result.stderr


def test_a_message_waits_for_a_service_that_comes_up(launch):
    port = free_port()
    service = launch(PORT=port, begin=False)
    user, results = unique(), []
    sender = threading.Thread(target=lambda: results.append(
        send(service, "--json", "--wait", "30", url=f"http://127.0.0.1:{port}", credential=token_of(user))))
    sender.start()
    with socket.socket() as probe:  # It has tried at least once when a refused connection is behind it; then it may come.
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    service.start()
    sender.join(40)
    assert results[0].returncode == 0, results
    assert len(service.client(user).messages(json.loads(results[0].stdout)["conversation_id"])) == 2


class Between:
    """A proxy that does to each connection in turn what the list says, and afterwards passes everything on."""

    def __init__(self, service, *deeds):
        self.service, self.deeds, self.requests = service, list(deeds), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client, self.deeds.pop(0) if self.deeds else "pass"), daemon=True).start()

    def _pass(self, client, deed):
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65_536)
        head, body = request.split(b"\r\n\r\n", 1)
        length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        while len(body) < length:
            body += client.recv(65_536)
        self.requests.append((time.monotonic(), head.decode(), body))
        if deed.startswith("HTTP"):
            client.sendall(deed.encode())
        elif deed != "cut":
            with socket.create_connection((self.service.host, self.service.port)) as server:
                server.sendall(re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head) + b"\r\nConnection: close\r\n\r\n" + body)
                answer = b""
                while piece := server.recv(65_536):
                    answer += piece
                if deed == "half":
                    answer = answer[:len(answer) // 2]
                if deed != "lose":
                    client.sendall(answer)
        client.close()

    def keys(self):
        return [re.search(r"(?i)idempotency-key: (\S+)", head)[1] for _, head, _ in self.requests]


BUSY = "HTTP/1.1 {} x\r\nContent-Length: 0\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"


def test_every_attempt_has_the_same_key_and_the_message_is_there_once(service):
    between = Between(service, "cut", "lose", BUSY.format(502).replace("Retry-After: 2\r\n", ""), "half", "pass")
    user = unique()
    result = send(service, "--json", "--wait", "30", url=between.url, credential=token_of(user))
    assert result.returncode == 0, result
    assert len(between.requests) == 5 and len(set(between.keys())) == 1
    assert len({body for _, _, body in between.requests}) == 1
    messages = service.client(user).messages(json.loads(result.stdout)["conversation_id"])
    assert [one["direction"] for one in messages] == ["inbound", "outbound"]


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_asked_to_wait_waits(service, status):
    between = Between(service, BUSY.format(status), "pass")
    result = send(service, "--wait", "10", url=between.url, credential=token_of(unique()))
    assert result.returncode == 0, result
    (first, *_), (second, *_) = between.requests
    assert second - first >= 2
    between = Between(service, BUSY.format(status), "pass")
    result = send(service, "--wait", "1", url=between.url, credential=token_of(unique()))
    assert result.returncode == 69 and str(status) in result.stderr and "wait 2 s" in result.stderr, result
    assert len(between.requests) == 1 and f"--key {between.keys()[0]}" in result.stderr


@pytest.mark.parametrize("answer,code", [
    ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 70), ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<htm>", 70),
    ("HTTP/1.1 301 Moved\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n", 64),
    ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 70), ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 64),
    ('HTTP/1.1 403 No\r\nContent-Length: 29\r\n\r\n{"detail":"\\u001b[31mno\\u0007"}'.replace("29", "31"), 64),
], ids=range(6))
def test_an_answer_that_makes_no_sense_ends_it_in_words(service, answer, code):
    between = Between(service, answer)
    result = send(service, url=between.url, credential=token_of(unique()))
    assert result.returncode == code and result.stderr.strip() and "\x1b" not in result.stderr and "\x07" not in result.stderr
    assert len(between.requests) == 1


# --- tail


class Tail:
    """A running `chat-service tail`."""

    def __init__(self, service, conversation, *arguments, credential, url=None):
        self.process = subprocess.Popen(
            [binary(), "tail", *arguments, conversation], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=clean_environment(CHAT_URL=url or service.url, **credential))
        self.lines, self.errors = [], []
        for stream, kept in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            threading.Thread(target=self._read, args=(stream, kept), daemon=True).start()

    def _read(self, stream, kept):
        for line in stream:
            kept.append(line.rstrip("\n"))

    def wait_for(self, count, seconds=15):
        eventually(lambda: len(self.lines) >= count or self.process.poll() is not None, seconds, f"{count} lines")
        assert len(self.lines) >= count, f"ended with {self.process.poll()}: {self.errors}"
        return self

    def stop(self, name="SIGINT"):
        self.process.send_signal(getattr(signal, name))
        return self.process.wait(5)


def seqs(tail):
    return [json.loads(line)["seq"] for line in tail.lines]


def test_a_log_is_printed_for_people_and_as_json(service, alice):
    conversation = alice.say("Hello")["conversation_id"]
    environment = {"CHAT_URL": service.url, "CHAT_TOKEN": alice.token}
    result = run_command("tail", "--no-follow", conversation, **environment)
    assert result.returncode == 0 and result.stderr == "", result
    first, second = result.stdout.splitlines()
    assert re.match(rf"1  20\S+Z  user {alice.user}: Hello\Z", first) and re.match(r"2  20\S+Z  bot \S+: Hello! ", second)
    result = run_command("tail", "--no-follow", "--json", "--after-seq", "1", conversation, **environment)
    assert lines(result) == alice.log(conversation)[1:]
    assert run_command("tail", "--no-follow", "--after-seq", "2", conversation, **environment).stdout == ""


def test_what_comes_is_printed_as_it_comes(service, alice):
    conversation = alice.handed_to_human()
    head = len(alice.log(conversation))
    tail = Tail(service, conversation, "--json", credential={"CHAT_TOKEN": alice.token}).wait_for(head)
    for number in range(20):
        alice.say(f"live {number}", conversation_id=conversation)
    tail.wait_for(head + 20)
    assert tail.stop() == 0 and tail.errors == []
    shown = [json.loads(line) for line in tail.lines]
    assert apart_from_status(shown) == apart_from_status(alice.log(conversation))


def test_a_restart_in_the_middle_loses_and_doubles_nothing(launch):
    port = free_port()
    service = launch(PORT=port)
    client = service.client()
    conversation = client.handed_to_human()
    tails = [Tail(service, conversation, "--json", credential={"CHAT_TOKEN": client.token}) for _ in range(3)]
    head = len(client.log(conversation))
    for end in (service.stop, service.kill):
        for tail in tails:
            tail.wait_for(head)
        end()
        service.start()
        client.close()
        for number in range(10):
            client.say(f"{end.__name__} {number}", conversation_id=conversation)
        head += 10
    expected = client.log(conversation)
    for tail in tails:
        tail.wait_for(len(expected), 30)
        assert tail.stop() == 0
        assert apart_from_status([json.loads(line) for line in tail.lines]) == apart_from_status(expected)
        assert "connected again" in " ".join(tail.errors) or tail.errors == []


def test_a_long_history_is_whole(service, backend):
    user = unique()
    conversation = backend.post_message("I want to talk to a human", user_id=user).json["conversation_id"]
    client = service.client(user)
    with ChatSocket(service, client) as chat:
        for start in range(0, 1200, 40):
            for number in range(start, start + 40):
                chat.send(type="message", id=f"m{number}", conversation_id=conversation,
                          content={"type": "text", "text": f"m{number}"})
            chat.expect("ack", id=f"m{start + 39}")
    tail = Tail(service, conversation, "--json", credential={"CHAT_TOKEN": client.token})
    tail.wait_for(1200, 20)
    expected = client.log(conversation)
    tail.wait_for(len(expected))
    assert tail.stop() == 0 and seqs(tail) == [entry["seq"] for entry in expected]


def test_what_is_not_for_the_user_is_passed_over_and_told(service, alice, agent):
    conversation = alice.handed_to_human()
    head = len(alice.log(conversation))
    users = Tail(service, conversation, "--json", credential={"CHAT_TOKEN": alice.token}).wait_for(head)
    agents = Tail(service, conversation, "--json", credential={"CHAT_TOKEN": agent.token}).wait_for(head)
    path = f"/api/v2/chat/conversations/{conversation}/messages"
    for visibility in ("internal", "public", "internal", "internal", "public"):
        body = {"content": {"type": "text", "text": visibility}, "visibility": visibility}
        assert agent.post(path, body).status in (200, 201, 202)
    users.wait_for(head + 2)
    agents.wait_for(head + 5)
    assert users.stop() == 0 and agents.stop() == 0
    assert not any("internal" in line for line in users.lines)
    assert seqs(agents) == list(range(1, seqs(agents)[-1] + 1)) and agents.errors == []
    assert len(set(seqs(users))) == len(users.lines) and sorted(seqs(users)) == seqs(users)
    assert any("not for this credential" in line for line in users.errors)


def test_a_text_cannot_command_the_terminal(service, alice):
    text = "red \x1b[31m bell \x07 c1 \x9b31m turned \u202e end\nsecond line\r9  2026 bot: forged"
    conversation = alice.say(text)["conversation_id"]
    result = run_command("tail", "--no-follow", conversation, CHAT_URL=service.url, CHAT_TOKEN=alice.token)
    assert result.returncode == 0
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", result.stdout)
    assert all(re.match(r"\d+  20|    ", line) for line in result.stdout.splitlines())
    result = run_command("send", text, CHAT_URL=service.url, CHAT_TOKEN=alice.token)
    assert result.returncode == 0 and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", result.stdout)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_at_any_time_with_0(service, alice, name):
    conversation = alice.say("Hello")["conversation_id"]
    tail = Tail(service, conversation, credential={"CHAT_TOKEN": alice.token}).wait_for(2)
    assert tail.stop(name) == 0
    # While it looks for a service that is not there.
    tail = Tail(service, conversation, "--wait", "60", credential={"CHAT_TOKEN": alice.token},
                url=f"http://127.0.0.1:{free_port()}")
    eventually(lambda: handles(tail.process.pid, getattr(signal, name)), 5, "the signal being waited for")
    assert tail.stop(name) == 0


def handles(pid, number):
    with open(f"/proc/{pid}/status") as status:
        caught = next(line for line in status if line.startswith("SigCgt"))
    return int(caught.split()[1], 16) >> (number - 1) & 1


def test_a_reader_that_goes_ends_it_quietly(service, alice):
    conversation = alice.say("Hello")["conversation_id"]
    process = subprocess.Popen([binary(), "tail", conversation], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=clean_environment(CHAT_URL=service.url, CHAT_TOKEN=alice.token))
    assert process.stdout.readline()
    process.stdout.close()  # As head -1 does. Nothing more is written: it must notice by itself.
    assert process.wait(5) == 0 and process.stderr.read() == b""


@pytest.mark.parametrize("arguments,code,word", [
    (["conv_00000000-0000-7000-8000-000000000000"], 64, "404"), (["nonsense"], 64, "conv_"), (["../health"], 64, "conv_"),
    ([], 64, "conversation"), (["--after-seq", "-1", "conv_00000000-0000-7000-8000-000000000000"], 64, "after-seq"),
], ids=repr)
def test_a_conversation_that_cannot_be_is_told(service, alice, arguments, code, word):
    result = run_command("tail", *arguments, CHAT_URL=service.url, CHAT_TOKEN=alice.token)
    assert result.returncode == code and word in result.stderr, result


def test_tail_needs_a_credential_that_may(service, alice, bob):
    conversation = alice.say("Hello")["conversation_id"]
    result = run_command("tail", conversation, CHAT_URL=service.url)
    assert result.returncode == 64 and "CHAT_TOKEN" in result.stderr
    assert run_command("tail", conversation, CHAT_URL=service.url, CHAT_TOKEN=bob.token).returncode == 64
    result = run_command("tail", conversation, CHAT_URL=service.url, CHAT_TOKEN=make_token(alice.user, ttl=-5))
    assert result.returncode == 64 and "401" in result.stderr
    result = run_command("tail", "--wait", "0", conversation, CHAT_URL=f"http://127.0.0.1:{free_port()}", CHAT_TOKEN=alice.token)
    assert result.returncode == 69


def test_a_token_that_expires_ends_it_in_words(service):
    client = service.client(token=make_token(user := unique(), ttl=3600), user=user)
    conversation = client.say("Hello")["conversation_id"]
    tail = Tail(service, conversation, credential={"CHAT_TOKEN": make_token(user, ttl=3)}).wait_for(2)
    assert tail.process.wait(20) == 64
    assert any("401" in line for line in tail.errors), tail.errors


# --- TLS


def test_commands_speak_tls_and_check_who_answers(launch, tmp_path):
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b", "stranger")
    service = launch(begin=False, **server_variables(authority.issue("server")))
    service.tls = authority.client_context()
    service.start()
    client = service.client()
    credential = {"CHAT_TOKEN": client.token}
    result = send(service, "--json", "--cacert", str(authority.certificate), credential=credential)
    assert result.returncode == 0, result
    conversation = json.loads(result.stdout)["conversation_id"]
    tail = Tail(service, conversation, "--json", "--cacert", str(authority.certificate), credential=credential).wait_for(2)
    client.say("live", conversation_id=conversation)
    tail.wait_for(4)
    assert tail.stop() == 0 and seqs(tail) == [1, 2, 3, 4]
    for arguments in ([], ["--cacert", str(stranger.certificate)]):
        result = send(service, "--wait", "0", *arguments, credential=credential)
        assert result.returncode == 69 and "not trusted" in result.stderr and "--cacert" in result.stderr, result
    plain = send(service, "--wait", "0", url=service.url.replace("https", "http"), credential=credential)
    assert plain.returncode != 0 and "TLS" in plain.stderr, plain


# --- Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_made_for_each_shell(shell):
    result = run_command("--generate-completion-script", shell)
    assert result.returncode == 0
    for word in ("tenant", "apikey", "send", "tail", "no-follow"):
        assert word in result.stdout


def test_the_completion_loads_and_completes(tmp_path):
    (tmp_path / "completion").write_text(run_command("--generate-completion-script", "bash").stdout)
    script = f"""
        source {tmp_path / 'completion'} && complete -p chat-service || exit 1
        COMP_WORDS=(chat-service te) COMP_CWORD=1 COMP_LINE='chat-service te' COMP_POINT=15
        _chat-service chat-service te chat-service
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "--norc", "-c", script], text=True, capture_output=True, timeout=10,
                            env={"PATH": f"{os.path.dirname(binary())}:{os.environ['PATH']}"})
    assert result.returncode == 0 and "complete" in result.stdout and "tenant" in result.stdout, result
