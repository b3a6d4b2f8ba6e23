"""How the black-box tests drive the service: a process, raw sockets, WebSockets, and what every answer owes.

Nothing here knows the inside of the service. `CHAT_SERVICE_BIN` names the built binary; the contract is the only other
source. Waiting is always a bounded poll on something observable, never a guess about time.
"""

import array
import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import jwt
import pytest

import described

ARTIFACTS = Path(__file__).parent / "artifacts"
JWT_SECRET = "black-box-secret-" + "0123456789abcdef" * 4  # 81 bytes: long enough for HS512
PROBLEM = "application/problem+json"

ID_PATTERNS = {
    prefix: re.compile(rf"{prefix}_[0-9A-Za-z-]{{20,40}}\Z") for prefix in ("msg", "conv", "sess", "run")
}
TIME_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._:/+=@~-]{1,256}\Z")

# What answers owe by their code (contract section 3, Errors).
CODES = {
    "malformed_json": 400, "validation_failed": 422, "unauthenticated": 401, "forbidden": 403,
    "tenant_mismatch": 403, "not_found": 404, "method_not_allowed": 405, "conflict": 409,
    "precondition_failed": 412, "payload_too_large": 413, "unsupported_media_type": 415,
    "idempotency_mismatch": 422, "rate_limited": 429, "internal": 500, "temporarily_unavailable": 503,
    "timeout": 504,
}


def eventually(probe, seconds=10.0, what="the expected state", every=0.01):
    """Calls `probe` until it returns something true; bounded. The only place of the suite that waits by time."""
    deadline = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds} s; last value: {value!r}")
        time.sleep(every)


def unique(prefix="u"):
    return f"{prefix}-{uuid.uuid4().hex[:16]}"


# ---------------------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------------------


def binary():
    path = os.environ.get("CHAT_SERVICE_BIN")
    if not path:
        pytest.fail("CHAT_SERVICE_BIN must name the built chat-service binary", pytrace=False)
    if not os.access(path, os.X_OK):
        pytest.fail(f"CHAT_SERVICE_BIN={path} is not an executable file", pytrace=False)
    return os.path.abspath(path)


def clean_environment(**variables):
    """Only what a process needs to live: a variable of the developer's shell must not change a test."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "LANG",
                                                "ASAN_OPTIONS", "TSAN_OPTIONS") if name in os.environ}
    kept.update({name: str(value) for name, value in variables.items() if value is not None})
    return kept


def run_command(*arguments, timeout=30, **variables):
    """Runs one `chat-service` command to its end."""
    return subprocess.run([binary(), *arguments], env=clean_environment(**variables), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)


class Service:
    """One running `chat-service serve` on its own data directory. `start` may be called again after `stop` or `kill`."""

    def __init__(self, data_directory, **variables):
        self.data_directory = Path(data_directory)
        self.variables = {
            "PORT": 0, "HOST": "127.0.0.1", "DATA_DIR": self.data_directory, "REACTOR_THREADS": 2,
            "BENCH_ROUTES": "true", "DEFAULT_RATE_LIMIT": 10_000_000, "BURST_LIMIT": 10_000_000,
            "BAD_CREDENTIALS_PER_MINUTE": 0, "JWT_SECRET": JWT_SECRET,
        }
        self.variables.update(variables)
        self.variables = {name: value for name, value in self.variables.items() if value is not None}
        self.tls = None  # The context of clients, when the service speaks TLS.
        self.process = None
        self.ready = None
        self.stdout_lines = []
        self.stderr_path = self.data_directory.parent / (self.data_directory.name + f"-{uuid.uuid4().hex[:6]}.stderr")
        self._reader = None

    # --- life

    def start(self, timeout=30, **changes):
        assert self.process is None or self.process.poll() is not None, "the service runs already"
        self.variables.update(changes)
        self.data_directory.mkdir(parents=True, exist_ok=True)
        self.ready, self.stdout_lines = None, []
        ready = threading.Event()
        with open(self.stderr_path, "ab") as errors:
            self.process = subprocess.Popen([binary(), "serve"], env=clean_environment(**self.variables),
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        self._reader = threading.Thread(target=self._read_stdout, args=(self.process, ready), daemon=True)
        self._reader.start()
        deadline = time.monotonic() + timeout
        while not ready.wait(0.02):
            if self.process.poll() is not None and not self._reader.is_alive() and not ready.is_set():
                raise AssertionError(f"serve ended with {self.process.returncode} before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"no ready line within {timeout} s; stdout {self.stdout_lines}\n{self.log_tail()}")
        return self

    def _read_stdout(self, process, ready):
        for line in process.stdout:
            line = line.decode("utf-8", "replace").rstrip("\n")
            self.stdout_lines.append(line)
            if self.ready is None and line.startswith("{"):
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if record.get("event") == "ready":
                    self.ready = record
                    ready.set()
        process.stdout.close()

    def stop(self, timeout=25):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the service within {timeout} s\n{self.log_tail()}") from None

    def kill(self):
        """SIGKILL, as a crash."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def restart(self, **changes):
        self.stop()
        return self.start(**changes)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # --- what it says

    @property
    def url(self):
        return self.ready["url"].rstrip("/")

    @property
    def host(self):
        return urlsplit(self.url).hostname

    @property
    def port(self):
        return urlsplit(self.url).port

    @property
    def authority(self):
        return f"{self.host}:{self.port}"

    def websocket_url(self, path="/api/v2/chat/ws"):
        return f"{'wss' if self.tls else 'ws'}://{self.authority}{path}"

    def log(self):
        return self.stderr_path.read_text("utf-8", "replace") if self.stderr_path.exists() else ""

    def log_tail(self, lines=30):
        return "\n".join(self.log().splitlines()[-lines:])

    # --- credentials

    def command(self, *arguments, **variables):
        """A command against this service's data directory and keys."""
        merged = {**self.variables, **variables}
        return run_command(*arguments, **merged)

    def issue_token(self, tenant="demo", user="alice", role="end_user", ttl=None):
        arguments = ["token", "issue", "--tenant", tenant, "--user", user, "--role", role]
        if ttl is not None:
            arguments += ["--ttl", str(ttl)]
        result = self.command(*arguments)
        assert result.returncode == 0, f"token issue ended with {result.returncode}: {result.stderr}"
        return result.stdout.strip()

    def create_api_key(self, tenant="acme", role="service", name="test"):
        result = self.command("apikey", "create", "--tenant", tenant, "--name", name, "--role", role, "--json")
        assert result.returncode == 0, f"apikey create ended with {result.returncode}: {result.stderr}"
        return json.loads(result.stdout)

    def client(self, user=None, tenant="demo", role="end_user", token=None, **headers):
        """An HTTP client with a credential of its own; without a name the user is new."""
        user = user or unique()
        return Client(self, token or make_token(user, tenant, role), user, tenant, headers)

    def anonymous(self, **headers):
        return Client(self, None, None, None, headers)

    # --- sockets

    def raw(self, **options):
        return RawConnection(self.host, self.port, **{"context": self.tls, **options})

    def chat(self, client, **options):
        return ChatSocket(self, client, **options)

    def metrics(self):
        response = self.anonymous().get("/metrics")
        assert response.status == 200
        return response.text


def make_token(user="alice", tenant="demo", role="end_user", secret=JWT_SECRET, algorithm="HS256", ttl=3600,
               headers=None, without=(), **claims):
    """A JWT by an independent implementation (PyJWT)."""
    now = int(time.time())
    payload = {"sub": user, "tenant_id": tenant, "roles": [role], "iat": now, "exp": now + ttl}
    payload.update(claims)
    for name in without:
        payload.pop(name, None)
    return jwt.encode(payload, secret, algorithm=algorithm, headers=headers)


# ---------------------------------------------------------------------------------------------------------------------
# HTTP over a raw socket
# ---------------------------------------------------------------------------------------------------------------------


class ProtocolError(AssertionError):
    """The server sent bytes that are not an HTTP/1.1 response."""


class ConnectionEnded(Exception):
    """The server closed before a whole response had come."""


class Response:
    def __init__(self, version, status, reason, headers, body):
        self.version, self.status, self.reason, self.headers, self.body = version, status, reason, headers, body

    def header(self, name, default=None):
        values = self.header_values(name)
        return values[0] if values else default

    def header_values(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def media_type(self):
        return self.header("Content-Type", "").split(";")[0].strip().lower()

    @property
    def text(self):
        return self.body.decode("utf-8")

    @property
    def json(self):
        assert self.media_type.endswith("json"), f"not JSON: {self!r}"
        return json.loads(self.body.decode("utf-8"))

    def __repr__(self):
        return f"<{self.status} {dict(self.headers)} {self.body[:600]!r}>"


HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*\Z")


class RawConnection:
    """A connection that sends any bytes and reads responses strictly: TCP, or with a `context` TLS over it."""

    def __init__(self, host, port, timeout=15, receive_buffer_bytes=None, context=None, session=None,
                 source=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if source:
            self.socket.bind((source, 0))
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server_port, self.own_port = port, self.socket.getsockname()[1]
        self.buffer = b""
        self.ended = False
        self.was_cut = False  # TLS ended without close_notify.
        if context:
            try:
                self.socket = context.wrap_socket(self.socket, server_hostname=host, session=session,
                                                  suppress_ragged_eofs=False)
            except BaseException:
                self.socket.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        """Goes away with a TCP reset, as a phone that loses its network does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_leniently(self, data):
        """Sends what the server lets us send: it may have refused and closed already."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def wait_until_read(self, seconds=5):
        """Until the server has taken every byte sent so far out of its kernel buffer: makes a split a real split."""
        outstanding = array.array("i", [0])

        def taken():
            fcntl.ioctl(self.socket.fileno(), 0x5411, outstanding)  # SIOCOUTQ: not yet acknowledged
            return outstanding[0] == 0 and server_receive_queue(self.server_port, self.own_port) in (0, None)

        eventually(taken, seconds, "the server reading its socket", every=0.0005)

    def _receive(self):
        try:
            data = self.socket.recv(262_144)
        except (ConnectionResetError, ssl.SSLEOFError) as error:
            data, self.was_cut = b"", isinstance(error, ssl.SSLEOFError)
        except TimeoutError:
            raise AssertionError(f"no answer within {self.socket.gettimeout()} s; so far {self.buffer[:300]!r}") from None
        if not data:
            self.ended = True
        self.buffer += data
        return bool(data)

    def _until(self, separator):
        while separator not in self.buffer:
            if not self._receive():
                raise ConnectionEnded(f"closed inside a head: {self.buffer[:300]!r}")
        piece, self.buffer = self.buffer.split(separator, 1)
        return piece

    def _exactly(self, count):
        pieces, have = [self.buffer], len(self.buffer)
        while have < count:
            self.buffer = b""
            if not self._receive():
                raise ConnectionEnded(f"closed inside a body: {have} of {count} bytes")
            pieces.append(self.buffer)
            have += len(self.buffer)
        whole = b"".join(pieces)
        self.buffer = whole[count:]
        return whole[:count]

    def response(self, method="GET", interim=False):
        """The next final response (or, with `interim`, the next of any kind)."""
        while True:
            head = self._until(b"\r\n\r\n")
            if b"\n" in head.replace(b"\r\n", b""):
                raise ProtocolError(f"bare line feed in a response head: {head!r}")
            lines = head.split(b"\r\n")
            match = re.match(rb"(HTTP/1\.[01]) (\d{3}) ([ -~\t]*)\Z", lines[0])
            if not match:
                raise ProtocolError(f"not a status line: {lines[0]!r}")
            headers = []
            for line in lines[1:]:
                field = HEADER_LINE.match(line)
                if not field:
                    raise ProtocolError(f"not a header field: {line!r}")
                headers.append((field[1].decode("ascii"), field[2].decode("utf-8")))
            response = Response(match[1].decode(), int(match[2]), match[3].decode(), headers, b"")
            if 100 <= response.status < 200 and response.status != 101:
                if interim:
                    return response
                continue
            response.body = self._body(response, method)
            return response

    def _body(self, response, method):
        lengths, codings = response.header_values("Content-Length"), response.header_values("Transfer-Encoding")
        if lengths and codings:
            raise ProtocolError(f"length and transfer coding together: {response!r}")
        if len(lengths) > 1:
            raise ProtocolError(f"several lengths: {response!r}")
        if response.status in (101, 204, 304):
            if codings or (lengths and response.status == 204):
                raise ProtocolError(f"framing fields on a {response.status}: {response!r}")
            return b""
        if method == "HEAD":
            return b""
        if codings:
            if codings != ["chunked"]:
                raise ProtocolError(f"unknown coding: {response!r}")
            return self._chunks()
        if lengths:
            if not lengths[0].isascii() or not lengths[0].isdigit():
                raise ProtocolError(f"not a length: {response!r}")
            return self._exactly(int(lengths[0]))
        body = self.buffer
        while self._receive():
            body = self.buffer
        self.buffer = b""
        return body

    def _chunks(self):
        body = b""
        while True:
            size = int(self._until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n"):
                    pass
                return body
            body += self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise ProtocolError("a chunk does not end with CRLF")

    def expect_end(self, seconds=10):
        """The server closes, and says nothing more."""
        self.socket.settimeout(seconds)
        while not self.ended:
            self._receive()
        assert self.buffer == b"", f"more came before the end: {self.buffer[:400]!r}"

    def read_to_end(self, seconds=10):
        """All responses until the server closes."""
        self.socket.settimeout(seconds)
        while not self.ended:
            self._receive()
        data, self.buffer = self.buffer, b""
        return data


def server_receive_queue(server_port, client_port):
    """Bytes that wait unread on the server's side of a loopback connection; None when there is no such connection."""
    row = _server_row(server_port, client_port)
    return int(row[4].split(":")[1], 16) if row else None


def _server_row(server_port, client_port):
    local, remote = f":{server_port:04X}", f":{client_port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as rows:
                for line in rows:
                    if local in line and remote in line:
                        row = line.split()
                        if row[1].endswith(local) and row[2].endswith(remote):
                            return row
        except FileNotFoundError:
            continue
    return None


def request_bytes(method, target, headers=(), body=None, host="test", version="HTTP/1.1"):
    """A well-formed request, unless the arguments are not."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    items = headers.items() if isinstance(headers, dict) else headers
    lines += [f"{name}: {value}" for name, value in items]
    if body is not None and not any(line.lower().startswith(("content-length:", "transfer-encoding:")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8") + (body or b"")


def chunked(body, size, extension="", trailers=()):
    pieces = []
    for start in range(0, len(body), size):
        piece = body[start:start + size]
        pieces.append(f"{len(piece):x}{extension}\r\n".encode() + piece + b"\r\n")
    pieces.append(b"0\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in trailers) + b"\r\n")
    return b"".join(pieces)


# ---------------------------------------------------------------------------------------------------------------------
# The API as a client sees it
# ---------------------------------------------------------------------------------------------------------------------


class Client:
    """One credential on one keep-alive connection. Not for use by several threads: see `twin`."""

    def __init__(self, service, token, user, tenant, headers=None):
        self.service, self.token, self.user, self.tenant = service, token, user, tenant
        self.headers = dict(headers or {})
        self.connection, self.used_at = None, 0.0

    def twin(self):
        """The same user on a connection of its own."""
        return Client(self.service, self.token, self.user, self.tenant, self.headers)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def authorization(self):
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def request(self, method, path, body=None, headers=None, query=None, retry=True):
        """`body`: bytes are sent as they are, anything else as JSON. A header of None is left out."""
        target = path + ("?" + urlencode(query) if query else "")
        fields = {**self.authorization(), **self.headers}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body, ensure_ascii=False).encode("utf-8")
            fields["Content-Type"] = "application/json"
        fields.update(headers or {})
        fields = {name: value for name, value in fields.items() if value is not None}
        if body is None and method in ("POST", "PUT", "PATCH"):
            body = b""
        data = request_bytes(method, target, fields, body, host=self.service.authority)
        if self.connection and time.monotonic() - self.used_at > 3:
            self.close()  # The server may have ended an idle connection; a POST must not meet that by chance.
        self.used_at = time.monotonic()
        fresh = self.connection is None
        if fresh:
            self.connection = self.service.raw()
        try:
            self.connection.send_leniently(data)
            response = self.connection.response(method)
        except ConnectionEnded:
            idle_connection_was_closed = not fresh and not self.connection.buffer
            self.close()
            if retry and idle_connection_was_closed and method in ("GET", "HEAD"):
                return self.request(method, path, body, headers, query, retry=False)
            raise
        if response.version == "HTTP/1.0" or "close" in response.header("Connection", "").lower() or self.connection.ended:
            self.close()
        assert response.header("X-Request-ID"), f"every answer carries X-Request-ID: {response!r}"
        described.check_answer(method, target, response)
        return response

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    # --- chat

    def message_body(self, text="Hello", content=None, **fields):
        body = {"user_id": self.user, "channel": "web", "content": content or {"type": "text", "text": text}}
        body.update(fields)
        return {name: value for name, value in body.items() if value is not ...}

    def post_message(self, text="Hello", content=None, headers=None, **fields):
        return self.post("/api/v2/chat/message", self.message_body(text, content, **fields), headers=headers)

    def say(self, text="Hello", **options):
        """Sends and checks that it was taken; returns the answer's JSON."""
        response = self.post_message(text, **options)
        assert response.status in (200, 202), repr(response)
        return check_answer(response)

    def conversation(self, conversation_id, **query):
        response = self.get(f"/api/v2/chat/conversations/{conversation_id}", query=query)
        assert response.status == 200, repr(response)
        return response.json

    def log(self, conversation_id):
        """The whole log, in order, paged by `after_seq`; its gap-free order is checked on the way."""
        entries = []
        while True:
            page = self.conversation(conversation_id, order="asc", limit=200,
                                     after_seq=entries[-1]["seq"] if entries else 0)
            entries += page["data"]
            if not page["data"] or not page["page"]["has_more"]:
                break
        assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1)), "seq must be gap-free from 1"
        return entries

    def messages(self, conversation_id):
        return [entry for entry in self.log(conversation_id) if entry["kind"] == "message"]

    def conversations(self, **query):
        response = self.get("/api/v2/chat/conversations", query=query)
        assert response.status == 200, repr(response)
        return response.json

    def handed_to_human(self):
        """A conversation that a human handles: messages are accepted and no engine run follows."""
        conversation_id = self.say("I want to talk to a human agent")["conversation_id"]
        eventually(lambda: self.conversation(conversation_id)["conversation"]["handler"]["type"] == "human",
                   what="the handoff to a human")
        return conversation_id


def apart_from_status(entries):
    """Entries as they stay: the status of what went out moves on while it is delivered and read."""
    return [{**entry, "status": None} for entry in entries]


def texts(entries, direction=None):
    return [entry["content"].get("text") for entry in entries
            if entry["kind"] == "message" and (direction is None or entry["direction"] == direction)]


# ---------------------------------------------------------------------------------------------------------------------
# What every answer owes
# ---------------------------------------------------------------------------------------------------------------------


def check_problem_object(problem):
    for field in ("type", "title", "detail", "instance", "code", "request_id"):
        assert isinstance(problem.get(field), str) and problem[field], f"{field} missing: {problem}"
    assert isinstance(problem.get("status"), int) and 400 <= problem["status"] <= 599, problem
    assert isinstance(problem.get("retryable"), bool), problem
    if problem["code"] in CODES:
        assert CODES[problem["code"]] == problem["status"], f"the contract pairs code and status: {problem}"
    for error in problem.get("errors", []):
        assert isinstance(error["pointer"], str) and (error["pointer"] == "" or error["pointer"].startswith("/")), problem
        assert error["code"] and error["detail"], problem
    return problem


def check_problem(response, status, code=None, pointer=None):
    """Holds an error answer to RFC 9457 and to the contract. `status`, `code`: one value or several to choose from."""
    statuses = status if isinstance(status, (tuple, list, set)) else (status,)
    assert response.status in statuses, f"expected {statuses}: {response!r}"
    assert response.media_type == PROBLEM, f"errors are {PROBLEM}: {response!r}"
    problem = check_problem_object(response.json)
    assert problem["status"] == response.status, response
    assert problem["request_id"] == response.header("X-Request-ID"), response
    if code is not None:
        codes = code if isinstance(code, (tuple, list, set)) else (code,)
        assert problem["code"] in codes, f"expected {codes}: {problem}"
    if pointer is not None:
        pointers = [error["pointer"] for error in problem.get("errors", [])]
        assert pointer in pointers, f"expected a fault at {pointer}: {problem}"
    if response.status == 401:
        assert "bearer" in response.header("WWW-Authenticate", "").lower(), response
    if response.status == 405:
        assert response.header("Allow"), response
    if response.status in (429, 503):
        assert response.header("Retry-After", "").isdigit() and int(response.header("Retry-After")) >= 1, response
        assert problem["retryable"] is True, problem
    if response.status in (400, 401, 403, 404, 405, 413, 414, 415, 422, 431):
        assert problem["retryable"] is False, f"the same request would fail again: {problem}"
    return problem


def check_message(message):
    """The envelope of a message."""
    assert ID_PATTERNS["msg"].match(message["id"]), message
    assert ID_PATTERNS["conv"].match(message["conversation_id"]), message
    assert isinstance(message["seq"], int) and message["seq"] >= 1, message
    assert message["kind"] == "message", message
    assert message["direction"] in ("inbound", "outbound"), message
    assert message["sender"]["type"] in ("user", "bot", "agent", "system") and message["sender"]["id"], message
    assert isinstance(message["content"], dict) and message["content"]["type"], message
    assert message["status"] in ("accepted", "sent", "delivered", "read", "failed"), message
    assert isinstance(message["metadata"], dict), message
    assert isinstance(message["visibility"], str) and message["visibility"], message
    assert isinstance(message["channel"], str), message
    assert TIME_PATTERN.match(message["created_at"]), message
    return message


def check_conversation(conversation):
    assert ID_PATTERNS["conv"].match(conversation["id"]), conversation
    assert conversation["status"] in ("open", "pending", "snoozed", "closed"), conversation
    assert conversation["handler"]["type"] in ("bot", "human"), conversation
    assert isinstance(conversation["handler"]["token"], int), conversation
    assert isinstance(conversation["labels"], list) and isinstance(conversation["attributes"], dict), conversation
    for field in ("last_seq", "unread", "version"):
        assert isinstance(conversation[field], int) and conversation[field] >= 0, (field, conversation)
    assert "priority" in conversation and isinstance(conversation["user_id"], str), conversation
    for field in ("created_at", "updated_at"):
        assert TIME_PATTERN.match(conversation[field]), conversation
    return conversation


def check_page(page):
    assert set(page) >= {"next_cursor", "prev_cursor", "has_more"}, page
    assert isinstance(page["has_more"], bool), page
    for name in ("next_cursor", "prev_cursor"):
        assert page[name] is None or (isinstance(page[name], str) and page[name]), page
    if page["has_more"]:
        assert page["next_cursor"], page
    return page


def check_answer(response):
    """The answer of POST /api/v2/chat/message, 200 or 202."""
    answer = response.json
    message = check_message(answer["message"])
    assert message["direction"] == "inbound" and message["sender"]["type"] == "user", answer
    assert answer["conversation_id"] == message["conversation_id"], answer
    assert ID_PATTERNS["sess"].match(answer["session_id"]), answer
    if response.status == 200:
        assert answer["status"] == "answered", answer
        reply = check_message(answer["reply"])
        assert reply["direction"] == "outbound" and reply["sender"]["type"] in ("bot", "system"), answer
        assert reply["conversation_id"] == message["conversation_id"] and reply["seq"] > message["seq"], answer
    else:
        assert response.status == 202 and answer["status"] in ("accepted", "queued"), response
        assert answer.get("reply") is None, answer
    return answer


# ---------------------------------------------------------------------------------------------------------------------
# WebSocket
# ---------------------------------------------------------------------------------------------------------------------

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class Frame:
    def __init__(self, final, reserved, opcode, payload):
        self.final, self.reserved, self.opcode, self.payload = final, reserved, opcode, payload

    @property
    def close_code(self):
        return struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else None

    @property
    def close_reason(self):
        return self.payload[2:].decode("utf-8")

    def __repr__(self):
        return f"<frame fin={self.final} rsv={self.reserved} op={self.opcode} {self.payload[:80]!r}>"


def frame_bytes(opcode, payload=b"", final=True, reserved=0, masked=True, length_form=None, mask=None):
    """One frame, as wrong as asked for. `length_form`: 7, 16 or 64 forces a length encoding."""
    if isinstance(payload, str):
        payload = payload.encode("utf-8")
    first = (0x80 if final else 0) | (reserved << 4) | opcode
    count, bit = len(payload), 0x80 if masked else 0
    form = length_form or (7 if count < 126 else 16 if count < 65_536 else 64)
    if form == 7:
        head = struct.pack("!BB", first, bit | count)
    elif form == 16:
        head = struct.pack("!BBH", first, bit | 126, count)
    else:
        head = struct.pack("!BBQ", first, bit | 127, count)
    if not masked:
        return head + payload
    mask = mask or os.urandom(4)
    if count:
        repeated = (mask * (count // 4 + 1))[:count]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(count, "big")
    return head + mask + payload


class RawWebSocket(RawConnection):
    """A WebSocket at the level of frames. The handshake's answer is checked; nothing is answered by itself."""

    def __init__(self, service, path="/bench/echo", headers=(), **options):
        super().__init__(service.host, service.port, **{"context": service.tls, **options})
        key = base64.b64encode(os.urandom(16)).decode()
        fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
                  ("Sec-WebSocket-Key", key)]
        fields += list(headers.items() if isinstance(headers, dict) else headers)
        self.send(request_bytes("GET", path, fields, host=service.authority))
        self.handshake = self.response()
        described.check_answer("GET", path, self.handshake)
        if self.handshake.status == 101:
            expected = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            assert self.handshake.header("Sec-WebSocket-Accept") == base64.b64encode(expected).decode()
            assert self.handshake.header("Upgrade", "").lower() == "websocket"
            assert "upgrade" in self.handshake.header("Connection", "").lower()

    def send_frame(self, opcode, payload=b"", **options):
        self.send_leniently(frame_bytes(opcode, payload, **options))

    def send_json(self, **frame):
        self.send_frame(TEXT, json.dumps(frame))

    def frame(self):
        """The next frame; None when the server ended the connection between frames."""
        try:
            first, second = self._exactly(2)
        except ConnectionEnded:
            if self.buffer:
                raise
            return None
        if second & 0x80:
            raise ProtocolError("a server must not mask (RFC 6455 5.1)")
        count = second & 0x7F
        if count == 126:
            count = struct.unpack("!H", self._exactly(2))[0]
            assert count >= 126, "length not in its shortest form"
        elif count == 127:
            count = struct.unpack("!Q", self._exactly(8))[0]
            assert count >= 65_536, "length not in its shortest form"
        frame = Frame(bool(first & 0x80), (first >> 4) & 7, first & 0xF, self._exactly(count))
        if frame.opcode >= 8:
            assert frame.final and count <= 125, f"a control frame is short and whole: {frame}"
        return frame

    def message(self):
        """The next whole data message, over pings and pongs; a close frame or the end is returned as it is."""
        opcode, payload = None, b""
        while True:
            frame = self.frame()
            if frame is None or frame.opcode == CLOSE:
                return frame
            if frame.opcode in (PING, PONG):
                continue
            if opcode is None:
                opcode = frame.opcode
            else:
                assert frame.opcode == CONTINUATION, f"a message inside a message: {frame}"
            payload += frame.payload
            if frame.final:
                return Frame(True, frame.reserved, opcode, payload)

    def json(self):
        message = self.message()
        assert message is not None and message.opcode == TEXT, f"expected a text frame: {message}"
        return json.loads(message.payload.decode("utf-8"))

    def expect_close(self, *codes, seconds=10):
        """The server closes with one of `codes`; frames before it are passed over."""
        self.socket.settimeout(seconds)
        while True:
            frame = self.frame()
            assert frame is not None, f"the connection ended without a close frame, expected {codes}"
            if frame.opcode == CLOSE:
                assert frame.close_code in codes, f"closed with {frame.close_code} {frame.payload[2:]!r}, expected {codes}"
                return frame

    def expect_tcp_end(self, seconds=10):
        """After both close frames the server ends the connection first (RFC 6455 7.1.1)."""
        self.expect_end(seconds)


class ChatSocket:
    """A chat client on the `websockets` package: an implementation of RFC 6455 that is not ours.

    Frames are kept in the order of arrival (`frames`); `expect` takes the first that fits and leaves the others.
    """

    def __init__(self, service, client, by_header=False, device_id=None, subprotocol=None, compression=None,
                 connect=True):
        from websockets.sync.client import connect as open_socket
        self.client, self.frames, self.taken = client, [], 0
        self.unread = []
        headers = client.authorization() if by_header else {}
        self.socket = open_socket(service.websocket_url(), ssl=service.tls, additional_headers=headers, compression=compression,
                                  subprotocols=[subprotocol] if subprotocol else None, proxy=None,
                                  open_timeout=10, close_timeout=5, max_size=2**24, max_queue=None,
                                  ping_interval=None).__enter__()
        self.connected = None
        if not connect:
            return
        if not by_header:
            frame = {"type": "connect", "token": client.token}
            if device_id:
                frame["device_id"] = device_id
            self.send(**frame)
        self.connected = self.expect("connected")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def drop(self):
        """The network goes away: no close frame."""
        try:
            self.socket.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.socket.close()

    def send(self, **frame):
        self.socket.send(json.dumps(frame, ensure_ascii=False))

    def receive(self, timeout=10):
        frame = json.loads(self.socket.recv(timeout=timeout))
        assert isinstance(frame, dict) and isinstance(frame.get("type"), str), f"not a frame of the contract: {frame}"
        if frame["type"] == "error":
            check_problem_object(frame["problem"])
        described.check_frame(frame)
        self.frames.append(frame)
        self.unread.append(frame)
        return frame

    def expect(self, type=None, where=None, timeout=10, **fields):
        """The first frame not yet taken that fits."""
        def fits(frame):
            return ((type is None or frame["type"] == type)
                    and all(frame.get(name) == value for name, value in fields.items())
                    and (where is None or where(frame)))

        deadline = time.monotonic() + timeout
        for frame in self.unread:
            if fits(frame):
                self.unread.remove(frame)
                return frame
        while True:
            left = deadline - time.monotonic()
            try:
                frame = self.receive(max(left, 0.001))
            except TimeoutError:
                raise AssertionError(f"no frame {type} {fields} within {timeout} s; came: {self.frames[-12:]}") from None
            if fits(frame):
                self.unread.remove(frame)
                return frame

    def settle(self):
        """A ping and its pong: everything that the server had for us before it answered has come."""
        self.send(type="ping")
        self.expect("pong")
        return self.frames

    def seen(self, type, **fields):
        return [frame for frame in self.frames if frame["type"] == type
                and all(frame.get(name) == value for name, value in fields.items())]

    def say(self, text, id=None, **fields):
        """Sends a message and returns its acknowledgement."""
        id = id or unique("c")
        self.send(type="message", id=id, content={"type": "text", "text": text}, **fields)
        frame = self.expect(where=lambda frame: frame.get("id") == id and frame["type"] in ("ack", "error"))
        assert frame["type"] == "ack", frame
        return frame

    def subscribe(self, conversation_id, after_seq=0, id=None):
        id = id or unique("s")
        self.send(type="subscribe", id=id, conversation_id=conversation_id, after_seq=after_seq)
        frame = self.expect(where=lambda frame: frame.get("id") == id and frame["type"] in ("subscribed", "error"))
        assert frame["type"] == "subscribed", frame
        return frame

    def entries(self, conversation_id):
        """Log entries in the order of arrival."""
        return [frame["message"] for frame in self.frames
                if frame.get("conversation_id") == conversation_id and isinstance(frame.get("message"), dict)]

    def expect_message(self, timeout=10, direction=None, text=None, conversation_id=None):
        return self.expect("message", timeout=timeout, where=lambda frame: (
            frame["message"]["kind"] == "message"
            and (direction is None or frame["message"]["direction"] == direction)
            and (text is None or frame["message"]["content"].get("text") == text)
            and (conversation_id is None or frame["conversation_id"] == conversation_id)))["message"]

    def expect_close(self, *codes, timeout=10):
        from websockets.exceptions import ConnectionClosed
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.receive(max(deadline - time.monotonic(), 0.001))
            except TimeoutError:
                raise AssertionError(f"the server did not close within {timeout} s") from None
            except ConnectionClosed as closed:
                assert closed.rcvd is not None, f"the connection ended without a close frame: {closed}"
                assert closed.rcvd.code in codes, f"closed with {closed.rcvd.code} {closed.rcvd.reason!r}, expected {codes}"
                return closed.rcvd


# ---------------------------------------------------------------------------------------------------------------------
# Fixtures
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def session_directory():
    directory = Path(tempfile.mkdtemp(prefix="chat-blackbox-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_service(session_directory):
    """One service for all tests that do not stop it. Tests stay apart by users that are new in each."""
    service = Service(session_directory / "shared").start()
    yield service
    alive = service.is_running()
    code = service.stop() if alive else service.process.returncode
    assert alive, f"the service died during the tests with {code}:\n{service.log_tail()}"
    assert code == 0, f"the service ended with {code} after the tests:\n{service.log_tail()}"


@pytest.fixture
def service(shared_service):
    assert shared_service.is_running(), f"an earlier test killed the service:\n{shared_service.log_tail()}"
    yield shared_service
    assert shared_service.is_running(), f"this test killed the service:\n{shared_service.log_tail()}"


@pytest.fixture
def launch(tmp_path):
    """Starts services of a test's own; stops them at its end."""
    started = []

    def start(name="data", begin=True, **variables):
        service = Service(tmp_path / name, **variables)
        started.append(service)
        return service.start() if begin else service

    yield start
    for service in started:
        service.kill()


@pytest.fixture
def alice(service):
    """An end user that no other test knows."""
    client = service.client()
    yield client
    client.close()


@pytest.fixture
def bob(service):
    client = service.client()
    yield client
    client.close()


@pytest.fixture
def backend(service):
    """A customer's own server: may send for any user of `demo`."""
    client = service.client(user="backend", role="service")
    yield client
    client.close()


@pytest.fixture
def agent(service):
    client = service.client(user=unique("agent"), role="agent")
    yield client
    client.close()


@pytest.fixture
def raw(service):
    """Raw connections that are closed at the end."""
    opened = []

    def connect(**options):
        connection = service.raw(**options)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def pytest_sessionfinish():
    described.leave_what_was_seen()
