"""What operators touch: health, metrics, documents, logs, start, stop, exit codes."""

import json
import math
import re
import shlex
import signal
import threading

import pytest
import yaml

from conftest import (CLOSE, JWT_SECRET, ChatSocket, ConnectionEnded, RawWebSocket, check_answer, check_problem, eventually,
                      make_token, request_bytes, run_command, unique)

# --- Health and information


def test_health_is_small_and_says_pass(service):
    response = service.anonymous().get("/health")
    assert response.status == 200 and response.media_type == "application/json"
    health = response.json
    assert health["status"] == "pass" and isinstance(health["version"], str) and health["version"]
    assert isinstance(health["uptime_seconds"], (int, float)) and health["uptime_seconds"] >= 0


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_running_service_is_alive_and_ready(service, path):
    assert service.anonymous().get(path).status == 200


def test_information_tells_what_runs(service):
    info = service.anonymous().get("/info").json
    assert set(info) >= {"service", "version", "commit", "built_at", "api_versions", "features", "limits", "node", "backend",
                         "threads"}
    assert info["backend"] in ("epoll", "io_uring") and info["threads"] == 2
    assert isinstance(info["api_versions"], list) and isinstance(info["limits"], dict)
    assert info["version"] == service.anonymous().get("/health").json["version"]
    assert JWT_SECRET not in json.dumps(info)


def test_the_ready_line_tells_url_backend_threads_and_stores(service):
    ready = service.ready
    assert ready["event"] == "ready" and re.match(r"http://127\.0\.0\.1:[1-9]\d*/?\Z", ready["url"])
    assert ready["backend"] in ("epoll", "io_uring") and ready["threads"] == 2 and ready["stores"]
    assert set(ready) >= {"ts", "level", "logger", "msg"}, "the ready line is a log record"


def test_the_bench_routes_exist_only_when_asked_for(launch):
    service = launch(BENCH_ROUTES=None)
    check_problem(service.anonymous().get("/bench/plaintext"), 404, "not_found")
    check_problem(service.anonymous().post("/bench/sink", b"x"), 404, "not_found")
    connection = RawWebSocket(service, "/bench/echo")
    assert connection.handshake.status == 404
    connection.close()


# --- Metrics

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? ([^ ]+)(?: (-?\d+))?\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "counter": ("",), "gauge": ("",),
            "untyped": ("",)}


class Family:
    def __init__(self, name):
        self.name, self.help, self.type, self.samples = name, None, None, []


def parse_metrics(text):
    """The Prometheus text format 0.0.4, strictly: order, escapes, types, groups, histograms, no series twice."""
    assert text.endswith("\n"), "the last line ends with a line feed"
    families, series, closed, current = {}, set(), set(), None

    def enter(name):
        nonlocal current
        if current is None or current.name != name:
            if current is not None:
                closed.add(current.name)
            assert name not in closed, f"the lines of {name} must stand together"
            current = families.setdefault(name, Family(name))
        return current

    for line in text.split("\n")[:-1]:
        if line == "":
            continue
        if line.startswith("#"):
            match = re.match(rf"# (HELP|TYPE) ({NAME}) (.*)\Z", line)
            if not match:
                assert not re.match(r"#\s*(HELP|TYPE)\b", line), f"malformed: {line!r}"
                continue
            family = enter(match[2])
            assert not family.samples, f"{match[1]} after a sample: {line!r}"
            if match[1] == "HELP":
                assert family.help is None, f"a second HELP: {line!r}"
                family.help = match[3]
            else:
                assert family.type is None and match[3] in SUFFIXES, f"a bad TYPE: {line!r}"
                family.type = match[3]
            continue
        match = SAMPLE.match(line)
        assert match, f"not a sample: {line!r}"
        name, labels_text, value_text = match[1], match[2] or "", match[3]
        labels, position = {}, 0
        while position < len(labels_text):
            label = LABEL.match(labels_text, position)
            assert label and label[1] not in labels, f"malformed labels: {line!r}"
            labels[label[1]] = label[2]
            position = label.end()
        key = (name, tuple(sorted(labels.items())))
        assert key not in series, f"the same series twice: {line!r}"
        series.add(key)
        value = float(value_text.replace("+Inf", "inf").replace("-Inf", "-inf").replace("Inf", "inf"))
        assert current is not None and current.type and any(
            name == current.name + suffix for suffix in SUFFIXES[current.type]), f"a sample outside its family: {line!r}"
        if current.type == "counter" or name.endswith(("_bucket", "_count")):
            assert value >= 0 and not math.isnan(value), line
        current.samples.append((name, labels, value))
    for family in families.values():
        assert family.help and family.type, f"{family.name} has no HELP or no TYPE"
        if family.type == "histogram":
            check_histogram(family)
    return families


def check_histogram(family):
    groups = {}
    for name, labels, value in family.samples:
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        group = groups.setdefault(key, {"buckets": [], "sum": None, "count": None})
        if name.endswith("_bucket"):
            group["buckets"].append((float(labels["le"].replace("+Inf", "inf")), value))
        else:
            group[name.rsplit("_", 1)[1]] = value
    for key, group in groups.items():
        bounds, counts = [b for b, _ in group["buckets"]], [c for _, c in group["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds and bounds[-1] == math.inf, (family.name, key)
        assert counts == sorted(counts), f"buckets are cumulative: {family.name} {key}"
        assert group["count"] == counts[-1] and group["sum"] is not None, (family.name, key)


def total(families, name, **labels):
    family = families[name]
    wanted = name + ("_count" if family.type == "histogram" else "")
    return sum(value for sample, found, value in family.samples
               if sample == wanted and all(found.get(key) == value for key, value in labels.items()))


REQUIRED_METRICS = {
    "chat_http_requests_total": {"method", "route", "status"}, "chat_http_request_duration_seconds": set(),
    "chat_messages_total": {"tenant", "channel", "direction"}, "chat_message_processing_time_seconds": {"stage"},
    "chat_ws_connections": set(), "chat_conversations_active": {"tenant"}, "chat_queue_depth": {"queue"},
    "chat_ring_depth": {"from", "to"}, "chat_event_loop_lag_seconds": {"loop"}, "chat_store_batch_size": set(),
    "chat_store_commit_duration_seconds": {"store"}, "chat_dedupe_hits_total": set(),
    "chat_engine_first_token_seconds": set(), "chat_build_info": set(),
    "process_cpu_seconds_total": set(), "process_resident_memory_bytes": set(), "process_open_fds": set(),
    "process_start_time_seconds": set(),
}


def test_the_metrics_are_well_formed_and_complete(service, alice):
    alice.say("Hello")
    key = unique()
    for _ in range(2):
        alice.post_message("Once", headers={"Idempotency-Key": key})
    with ChatSocket(service, alice) as chat:
        chat.say("Hello")
        chat.expect_message(direction="outbound")
        response = service.anonymous().get("/metrics")
    assert response.status == 200 and response.media_type == "text/plain"
    assert "version=0.0.4" in response.header("Content-Type")
    families = parse_metrics(response.text)
    for name, labels in REQUIRED_METRICS.items():
        assert name in families, f"{name} is missing"
        samples = families[name].samples
        assert samples, f"{name} has no sample"
        for _, found, _ in samples:
            assert labels <= set(found), f"{name} needs the labels {labels}: {found}"
    assert families["chat_ws_connections"].type == "gauge" and total(families, "chat_ws_connections") >= 1
    for name in families:
        if name.endswith("_total"):
            assert families[name].type == "counter", name


def test_the_counters_count(service, alice):
    before = parse_metrics(service.metrics())
    key = unique()
    for number in range(5):
        alice.say(f"n{number}")
    for _ in range(3):
        alice.post_message("Once", headers={"Idempotency-Key": key})
    alice.post_message("")
    after = parse_metrics(service.metrics())

    def grew(name, **labels):
        return total(after, name, **labels) - total(before, name, **labels)

    assert grew("chat_messages_total", tenant="demo", channel="web", direction="inbound") == 6
    assert grew("chat_messages_total", tenant="demo", channel="web", direction="outbound") == 6
    assert grew("chat_dedupe_hits_total") == 2
    assert grew("chat_http_requests_total", method="POST", status="200") >= 8
    assert grew("chat_http_requests_total", method="POST", status="422") == 1
    assert grew("chat_http_request_duration_seconds") >= 9
    assert grew("chat_store_commit_duration_seconds") >= 1


def test_no_counter_falls(service, alice):
    before = parse_metrics(service.metrics())
    alice.say("Hello")
    after = parse_metrics(service.metrics())
    for name, family in before.items():
        if family.type in ("counter", "histogram"):
            assert total(after, name) >= total(before, name), name


def test_routes_are_labels_of_templates_not_of_paths(service, alice):
    marker = unique("marker")
    alice.get(f"/no/such/{marker}")
    alice.get(f"/api/v2/chat/conversations/conv_{marker}")
    alice.request(unique("METHOD").upper().replace("-", ""), "/health")
    text = service.metrics()
    assert marker not in text and "METHOD" not in text, "a client must not be able to make series"
    assert alice.user not in text


# --- Documents


@pytest.fixture(scope="module")
def openapi(shared_service):
    response = shared_service.anonymous().get("/openapi.yaml")
    assert response.status == 200 and "yaml" in response.media_type
    return yaml.safe_load(response.text)


BUILT_PATHS = {
    "/api/v2/auth/guest": "post", "/api/v2/chat/message": "post", "/api/v2/chat/conversations": "get",
    "/api/v2/chat/conversations/{}": "get", "/api/v2/chat/ws": "get", "/health": "get", "/livez": "get", "/readyz": "get",
    "/api/v2/chat/conversations/{}/read": "post", "/api/v2/chat/conversations/{}/typing": "post",
    "/metrics": "get", "/info": "get", "/openapi.yaml": "get", "/widget.js": "get",
    "/console": "get", "/console.js": "get",
}


def template(path):
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_the_openapi_document_is_valid(openapi):
    from openapi_spec_validator import validate
    assert str(openapi["openapi"]).startswith("3.")
    validate(openapi)


def test_every_route_that_is_built_is_documented(openapi):
    documented = {template(path): operations for path, operations in openapi["paths"].items()}
    for path, method in BUILT_PATHS.items():
        assert path in documented, f"{path} is not documented"
        assert method in documented[path], f"{method} {path} is not documented"
        assert documented[path][method]["responses"], path


def test_every_documented_route_exists_and_answers_as_documented(service, openapi):
    client = service.client(role="admin")
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            if method not in ("get", "post", "put", "patch", "delete", "head"):
                continue
            target = re.sub(r"\{[^}]*\}", "conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab", path)
            response = client.request(method.upper(), target)
            documented = {str(status) for status in operation["responses"]}
            assert response.status != 405, f"{method} {path} is documented and not allowed"
            assert (str(response.status) in documented or f"{response.status // 100}XX" in documented
                    or "default" in documented), f"{method} {path} answered {response.status}, documented are {documented}"
            if response.status == 404:
                assert "{" in path, f"{method} {path} is documented and does not exist"


def schema_errors(openapi, path, method, response):
    """Faults of an answer against its documented schema."""
    from openapi_schema_validator import OAS31Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012
    documented = {template(item): item for item in openapi["paths"]}
    responses = openapi["paths"][documented[path]][method]["responses"]
    status = next((key for key in responses if str(key) in (str(response.status), f"{response.status // 100}XX", "default")), None)
    assert status is not None, f"{method} {path} {response.status} is not documented"
    pointer = ["paths", documented[path], method, "responses", str(status)]
    described = responses[status]
    while "$ref" in described:
        pointer = described["$ref"].removeprefix("#/").split("/")
        described = openapi
        for step in pointer:
            described = described[step.replace("~1", "/").replace("~0", "~")]
        pointer = [step.replace("~1", "/").replace("~0", "~") for step in pointer]
    assert response.media_type in described["content"], f"{response.media_type} is not documented for {path} {status}"
    pointer += ["content", response.media_type, "schema"]
    document = json.loads(json.dumps(openapi))  # Statuses may be numbers in YAML; a pointer needs text.
    reference = "urn:openapi#/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in pointer)
    registry = Registry().with_resource("urn:openapi", DRAFT202012.create_resource(document))
    return [error.message for error in OAS31Validator({"$ref": reference}, registry=registry).iter_errors(response.json)]


def test_answers_hold_to_their_documented_schemas(service, openapi, alice):
    answer = alice.post_message("Hello")
    conversation = f"/api/v2/chat/conversations/{answer.json['conversation_id']}"
    cases = [
        ("/api/v2/chat/message", "post", answer),
        ("/api/v2/chat/message", "post", alice.post_message("Later", headers={"Prefer": "respond-async"})),
        ("/api/v2/chat/message", "post", alice.post_message("")),
        ("/api/v2/chat/message", "post", alice.post_message("Hello", user_id="another")),
        ("/api/v2/chat/message", "post", service.anonymous().post("/api/v2/chat/message", {})),
        ("/api/v2/chat/conversations/{}", "get", alice.get(conversation)),
        ("/api/v2/chat/conversations/{}", "get", alice.get(conversation + "?limit=0")),
        ("/api/v2/chat/conversations", "get", alice.get("/api/v2/chat/conversations")),
        ("/api/v2/auth/guest", "post", service.anonymous().post("/api/v2/auth/guest", {"tenant_id": "demo"})),
        ("/api/v2/auth/guest", "post", service.anonymous().post("/api/v2/auth/guest", {"tenant_id": "acme"})),
        ("/health", "get", alice.get("/health")), ("/info", "get", alice.get("/info")),
    ]
    for path, method, response in cases:
        assert schema_errors(openapi, path, method, response) == [], (path, response)


def test_the_chat_page_is_guarded(service):
    response = service.anonymous().get("/")
    assert response.status == 200 and response.media_type == "text/html"
    policy = response.header("Content-Security-Policy", "")
    assert "default-src" in policy and "unsafe-" not in policy and "*" not in policy.split()
    assert response.header("X-Content-Type-Options") == "nosniff"
    page = response.text
    assert "<!doctype html" in page.lower() and "<chat-widget" in page and "viewport" in page
    assert "https://" not in re.sub(r'xmlns="[^"]*"', "", "".join(re.findall(r"<(?:script|link|img)[^>]*>", page))), "all is our own"


@pytest.mark.parametrize("path", ["/", "/console"])
def test_what_a_page_loads_is_there(service, path):
    page = service.anonymous().get(path).text
    for reference in re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]+)"', page):
        if not reference.startswith(("data:", "#")):
            assert service.anonymous().get(reference if reference.startswith("/") else "/" + reference).status == 200, reference


@pytest.mark.parametrize("path,media_type", [
    ("/", "text/html"), ("/widget.js", "text/javascript"), ("/openapi.yaml", "application/yaml"),
    ("/console", "text/html"), ("/console.js", "text/javascript")])
def test_a_file_is_sent_once_and_then_only_confirmed(service, path, media_type):
    first = service.anonymous().get(path)
    tag = first.header("ETag")
    assert first.status == 200 and first.media_type == media_type and re.fullmatch(r'"[0-9a-f]{32}"', tag)
    assert first.header("Cache-Control") == "no-cache"
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = service.anonymous(**{"If-None-Match": condition}).get(path)
        assert again.status == 304 and again.body == b"" and again.header("ETag") == tag, condition
        assert again.header("Content-Length") is None
    changed = service.anonymous(**{"If-None-Match": '"0123"'}).get(path)
    assert changed.status == 200 and changed.body == first.body
    head = service.anonymous().request("HEAD", path)
    assert head.status == 200 and head.body == b"" and head.header("ETag") == tag
    assert head.header("Content-Length") == str(len(first.body))
    assert service.anonymous().request("POST", path).status == 405


def test_any_origin_may_load_the_widget_and_nothing_else_opens_by_that(service):
    script = service.anonymous(Origin="https://shop.example").get("/widget.js")
    assert script.header_values("Access-Control-Allow-Origin") == ["*"]
    assert script.header("Cross-Origin-Resource-Policy") == "cross-origin"
    assert script.header("X-Content-Type-Options") == "nosniff"
    for path in ("/", "/health", "/openapi.yaml", "/console", "/console.js"):
        answer = service.anonymous(Origin="https://shop.example").get(path)
        assert answer.header("Access-Control-Allow-Origin") is None, path


def test_calls_are_answered_to_the_origins_that_the_tenant_lists(launch):
    service = launch(begin=False)
    service.data_directory.mkdir(parents=True)
    for wrong in ("shop.example", "https://shop.example/", "https://Shop.example", "https://a b", "https://"):
        assert service.command("tenant", "set", "demo", "--origin", wrong).returncode == 64, wrong
    assert service.command("tenant", "set", "nobody", "--origin", "https://shop.example").returncode == 64
    for tenant, origin in (("demo", "https://shop.example"), ("acme", "https://acme.example")):
        result = service.command("tenant", "set", tenant, "--origin", origin)
        assert result.returncode == 0 and origin in result.stdout, result
    row = next(line.split() for line in service.command("tenant", "list").stdout.splitlines() if line.startswith("demo "))
    assert row[1] == "yes" and "https://shop.example" in row, row
    service.start()
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    path, body = "/api/v2/auth/guest", {"tenant_id": "demo"}
    preflight = service.anonymous(Origin="https://shop.example", **asked).request("OPTIONS", path)
    assert preflight.status == 204 and preflight.header("Access-Control-Allow-Origin") == "https://shop.example"
    allowed = preflight.header("Access-Control-Allow-Headers").lower()
    assert "authorization" in allowed and "content-type" in allowed and "idempotency-key" in allowed
    assert "POST" in preflight.header("Access-Control-Allow-Methods") and preflight.header("Access-Control-Max-Age")
    assert preflight.header("Access-Control-Allow-Credentials") is None
    listed = service.anonymous(Origin="https://shop.example").post(path, body)
    assert listed.status == 200 and listed.header("Access-Control-Allow-Origin") == "https://shop.example"
    for stranger in ("https://acme.example", "https://evil.example", "null"):
        answer = service.anonymous(Origin=stranger).post(path, body)
        assert answer.header("Access-Control-Allow-Origin") is None, f"{stranger} is not of this tenant"
    refused = service.anonymous(Origin="https://evil.example", **asked).request("OPTIONS", path)
    assert refused.header("Access-Control-Allow-Headers") is None


# --- Logs


def test_logs_are_json_lines_without_secrets_or_texts(launch):
    service = launch()
    client = service.client()
    said, request_id, key = unique("said-in-confidence"), unique("request"), service.create_api_key("acme", "service")["secret"]
    bad_token = make_token("x", secret="w" * 64)
    client.post_message(said, headers={"X-Request-ID": request_id})
    client.post_message(said, user_id="another")
    service.anonymous(**{"X-API-Key": key}).get("/api/v2/chat/conversations")
    service.anonymous().get("/api/v2/chat/conversations", headers={"Authorization": f"Bearer {bad_token}"})
    guest = service.anonymous().post("/api/v2/auth/guest", {"tenant_id": "demo"}).json
    with ChatSocket(service, client) as chat:
        chat.say(said)
        chat.socket.send("{" + said)
        chat.expect("error")
    assert service.stop() == 0
    check_log(service.log())
    for secret in (said, client.token, client.token.split(".")[1], bad_token, key, guest["token"], JWT_SECRET):
        assert secret not in service.log(), "a log is read by many people"


def check_log(text):
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines, "the service logs its start and its end"
    for line in lines:
        record = json.loads(line)
        assert set(record) >= {"ts", "level", "logger", "msg"}, record
        assert record["level"] in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), record
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\Z", record["ts"]), record
    return lines


def test_the_request_id_is_on_the_log_lines_of_its_request(launch):
    service = launch(LOG_LEVEL="DEBUG")
    client, request_id = service.client(), unique("request")
    assert client.post_message("Hello", headers={"X-Request-ID": request_id}).status == 200
    records = eventually(lambda: [record for record in map(json.loads, filter(None, service.log().split("\n")[:-1]))
                                  if record.get("request_id") == request_id], 5, "a log line of the request")
    assert any(record.get("tenant_id") == "demo" for record in records)
    assert client.token not in service.log()


def test_the_level_silences(launch):
    service = launch(LOG_LEVEL="ERROR")
    service.client().say("Hello")
    service.stop()
    assert all(json.loads(line)["level"] in ("ERROR", "CRITICAL") for line in service.log().splitlines() if line.strip())


def test_a_client_cannot_forge_a_log_line(launch):
    service = launch(LOG_LEVEL="DEBUG")
    service.client().get("/no/such/%0a%7B%22forged%22%3Atrue%7D", headers={"User-Agent": "x\" \\ {\"forged\":true}"})
    service.stop()
    for line in check_log(service.log()):
        assert "forged" not in json.loads(line)


# --- Start


def test_the_first_start_prints_a_curl_that_works(launch):
    service = launch(JWT_SECRET=None)
    output = "\n".join(service.stdout_lines)
    eventually(lambda: "eyJ" in "\n".join(service.stdout_lines), 5, "the curl command on standard output")
    output = "\n".join(service.stdout_lines)
    token = re.search(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", output)[0]
    assert service.anonymous().get("/api/v2/chat/conversations", headers={"Authorization": f"Bearer {token}"}).status == 200
    command = output[output.index("curl"):].replace("\\\n", " ")
    words = shlex.split(command.split("\n\n")[0].split("\n")[0] if "'" not in command.split("\n")[0] or
                        command.split("\n")[0].count("'") % 2 == 0 else command.split("\n\n")[0])
    assert words[0] == "curl" and any(word.startswith(service.url) for word in words), words


def test_port_zero_takes_a_free_port_each_time(launch):
    first, second = launch("one"), launch("two")
    assert first.port != second.port and 0 < first.port < 65_536
    assert first.anonymous().get("/health").status == second.anonymous().get("/health").status == 200


def test_data_of_a_new_directory_is_made(tmp_path, launch):
    service = launch("deep/er/still")
    assert service.client().say("Hello")["message"]["seq"] == 1
    assert any(service.data_directory.iterdir())


def test_a_second_service_on_the_same_data_is_refused(launch):
    service = launch()
    result = service.command("serve", timeout=20)
    assert result.returncode in (69, 78), (result.returncode, result.stdout, result.stderr)
    assert str(service.data_directory) in result.stdout + result.stderr, "it says which directory is taken"
    assert '"ready"' not in result.stdout
    assert service.client().say("Hello")["message"]["seq"] == 1, "the first goes on"


def test_the_data_is_free_again_after_a_crash(launch):
    service = launch()
    service.kill()
    service.start()
    assert service.anonymous().get("/health").status == 200


@pytest.mark.parametrize("arguments", [
    ["--nonsense"], ["frobnicate"], ["serve", "--nonsense"], ["serve", "surplus"], ["check-config", "--nonsense"],
    ["token"], ["token", "issue"], ["token", "issue", "--tenant", "demo"], ["token", "issue", "--user", "x"],
    ["token", "issue", "--tenant", "demo", "--user", "x", "--role", "end_user", "--ttl", "soon"],
    ["token", "issue", "--tenant"], ["token", "frobnicate"], ["apikey", "create"],
], ids=" ".join)
def test_bad_arguments_end_with_64(tmp_path, arguments):
    result = run_command(*arguments, DATA_DIR=tmp_path / "data", PORT=0, HOST="127.0.0.1")
    if arguments == ["token"]:
        assert result.returncode in (0, 64)  # A group without a command may show its help.
        assert "issue" in result.stdout + result.stderr
        return
    assert result.returncode == 64, (result.returncode, result.stderr)
    assert result.stderr.strip() and "Fatal error" not in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["token", "issue", "--help"], ["--version"]], ids=" ".join)
def test_help_is_free(arguments):
    result = run_command(*arguments)
    assert result.returncode == 0 and result.stdout.strip()


BAD_ENVIRONMENT = [
    ("PORT", "abc"), ("PORT", "70000"), ("PORT", "-1"), ("PORT", "80 80"), ("PORT", "8001.5"), ("ENVIRONMENT", "prod"),
    ("ENVIRONMENT", "Production"), ("REACTOR_THREADS", "many"), ("REACTOR_THREADS", "-2"), ("REACTOR_BACKEND", "kqueue"),
    ("DEFAULT_RATE_LIMIT", "fast"), ("DEFAULT_RATE_LIMIT", "-1"), ("BURST_LIMIT", "1e3"), ("BURST_LIMIT", "-5"),
    ("MAX_MESSAGE_BYTES", "64k"), ("MAX_MESSAGE_BYTES", "-1"), ("MAX_MEDIA_BYTES", "x"), ("REQUEST_TIMEOUT_MS", "30s"),
    ("REQUEST_TIMEOUT_MS", "-1"), ("SESSION_TTL", "1h"), ("CONFIG_CACHE_TTL", "x"), ("RESPONSE_CACHE_TTL", "x"),
    ("MAX_CONNECTIONS_MONGO", "x"), ("MAX_CONNECTIONS_REDIS", "x"), ("LOG_LEVEL", "LOUD"), ("DRAIN_DELAY_MS", "soon"),
    ("DRAIN_TIMEOUT_MS", "-1"), ("OPS_PUBLIC", "perhaps"), ("BENCH_ROUTES", "maybe"), ("ENCRYPTION_KEYS", "nonsense"),
    ("ENCRYPTION_KEYS", "k1:dG9vIHNob3J0"),
]


@pytest.mark.parametrize("command", ["serve", "check-config"])
@pytest.mark.parametrize("name,value", BAD_ENVIRONMENT, ids=lambda value: value)
def test_a_variable_that_cannot_be_parsed_ends_with_78_and_is_named(tmp_path, command, name, value):
    result = run_command(command, **{"DATA_DIR": tmp_path / "data", "PORT": 0, "HOST": "127.0.0.1", name: value})
    output = result.stdout + result.stderr
    assert result.returncode == 78, (result.returncode, output)
    faults = [line for line in output.splitlines() if name in line]
    assert faults, f"{name} is not named: {output}"
    if name == "ENCRYPTION_KEYS":
        assert value not in output, "a secret is not shown"
    else:
        assert value in faults[0], f"the value is shown: {faults}"


@pytest.mark.parametrize("command", ["serve", "check-config"])
def test_all_faults_are_told_at_once_a_line_each(tmp_path, command):
    bad = {"PORT": "abc", "LOG_LEVEL": "LOUD", "BURST_LIMIT": "x", "ENVIRONMENT": "prod", "DRAIN_TIMEOUT_MS": "soon"}
    result = run_command(command, DATA_DIR=tmp_path / "data", **bad)
    assert result.returncode == 78
    lines = (result.stdout + result.stderr).splitlines()
    for name in bad:
        assert any(name in line and not any(other in line for other in bad if other != name) for line in lines), (name, lines)


def test_production_insists_on_what_it_needs(tmp_path):
    result = run_command("check-config", ENVIRONMENT="production", DATA_DIR=tmp_path / "data", PORT=0)
    output = result.stdout + result.stderr
    assert result.returncode == 78
    for name in ("MONGODB_URI", "REDIS_URL", "JWT_", "ENCRYPTION_KEYS"):
        assert name in output, f"{name} is not asked for: {output}"


def test_production_refuses_the_bench_routes(tmp_path):
    result = run_command("check-config", ENVIRONMENT="production", BENCH_ROUTES="true", DATA_DIR=tmp_path / "data")
    assert result.returncode == 78 and "BENCH_ROUTES" in result.stdout + result.stderr


def test_a_good_configuration_is_shown_with_its_secrets_redacted(tmp_path):
    result = run_command("check-config", DATA_DIR=tmp_path / "data", PORT=0, JWT_SECRET=JWT_SECRET, BURST_LIMIT=4321)
    assert result.returncode == 0, result.stderr
    for name in ("PORT", "DATA_DIR", "JWT_SECRET", "LOG_LEVEL", "REACTOR_THREADS", "ENVIRONMENT"):
        assert name in result.stdout, name
    assert "4321" in result.stdout and JWT_SECRET not in result.stdout + result.stderr and JWT_SECRET[:16] not in result.stdout


def test_a_data_directory_that_cannot_be_is_told(tmp_path):
    (tmp_path / "file").write_text("not a directory")
    result = run_command("serve", DATA_DIR=tmp_path / "file" / "data", PORT=0, HOST="127.0.0.1")
    assert result.returncode in (69, 78) and str(tmp_path / "file") in result.stdout + result.stderr


def test_an_address_that_is_not_ours_is_told(tmp_path):
    result = run_command("serve", DATA_DIR=tmp_path / "data", PORT=0, HOST="203.0.113.1")
    assert result.returncode in (69, 78) and "203.0.113.1" in result.stdout + result.stderr


# --- Stop


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_an_idle_service_with_0(launch, name):
    service = launch()
    service.process.send_signal(getattr(signal, name))
    assert service.process.wait(10) == 0


def test_a_stop_finishes_the_request_that_is_open(launch):
    service = launch()
    client = service.client()
    conversation_id = client.say("Hello")["conversation_id"]
    data = request_bytes("POST", "/api/v2/chat/message", {**client.authorization(), "Content-Type": "application/json"},
                         json.dumps(client.message_body("The last word")).encode())
    connection = service.raw()
    connection.send(data[:-5])
    connection.wait_until_read()
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses_connections(service), 10, "the listener closing")
    assert service.is_running(), "an open request is waited for"
    connection.send(data[-5:])
    answer = check_answer(connection.response())
    connection.expect_end()
    assert service.process.wait(20) == 0
    service.start()
    client.close()
    assert "The last word" in [entry["content"].get("text") for entry in client.messages(conversation_id)]
    assert answer["conversation_id"] == conversation_id


def refuses_connections(service):
    try:
        service.raw(timeout=2).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True


def test_a_stop_closes_sockets_with_1001_and_says_when_to_come_back(launch):
    service = launch()
    client = service.client()
    sockets = [ChatSocket(service, client) for _ in range(10)]
    bench = RawWebSocket(service, "/bench/echo")
    stopping = threading.Thread(target=service.process.send_signal, args=(signal.SIGTERM,))
    stopping.start()
    waits = []
    for one in sockets:
        closed = one.expect_close(1001)
        found = re.search(r"retry_after_ms\D*(\d+)", closed.reason)
        assert found, f"the reason says when to come back: {closed.reason!r}"
        waits.append(int(found[1]))
    assert len(set(waits)) > 1, "reconnects are spread"
    bench.expect_close(1001)
    bench.send_frame(CLOSE, b"\x03\xe9")
    stopping.join()
    assert service.process.wait(20) == 0


def test_while_draining_the_service_is_alive_and_not_ready(launch):
    service = launch(DRAIN_DELAY_MS=3000)
    client = service.anonymous()
    assert client.get("/readyz").status == 200
    service.process.send_signal(signal.SIGTERM)

    def readiness():
        try:
            return service.anonymous().get("/readyz").status == 503
        except (ConnectionEnded, ConnectionRefusedError):
            raise AssertionError("the listener must stay open for DRAIN_DELAY_MS") from None

    eventually(readiness, 2, "readyz turning 503")
    assert service.anonymous().get("/livez").status == 200
    assert service.client().say("Still served")["message"]["seq"] == 1
    assert service.process.wait(20) == 0


def test_a_client_that_never_finishes_does_not_hold_up_the_stop(launch):
    service = launch(DRAIN_TIMEOUT_MS=2000)
    client, halves = service.client(), []
    for _ in range(5):
        halves.append(service.raw())
        halves[-1].send(b"POST /bench/sink HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        halves[-1].wait_until_read()
    silent = RawWebSocket(service, "/bench/echo")  # Never answers the close.
    client.say("Hello")
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0
    for connection in [*halves, silent]:
        connection.close()


def test_what_was_acknowledged_before_a_stop_is_there_after_it(launch):
    service = launch()
    acknowledged, gone = [], threading.Event()

    def talk(number):
        client = service.client(f"talker-{number}")
        for turn in range(10_000):
            try:
                response = client.post_message(f"t{turn}", headers={"Prefer": "respond-async"})
            except (ConnectionEnded, OSError):
                break
            if response.status in (200, 202):
                acknowledged.append((client.user, response.json["message"]))
            if len(acknowledged) > 100:
                gone.set()
        gone.set()

    talkers = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
    for talker in talkers:
        talker.start()
    assert gone.wait(30)
    assert service.stop() == 0
    for talker in talkers:
        talker.join(30)
    service.start()
    for user in {user for user, _ in acknowledged}:
        client = service.client(user)
        messages = [message for owner, message in acknowledged if owner == user]
        log = {entry["id"]: entry for entry in client.log(messages[0]["conversation_id"])}
        for message in messages:
            assert log[message["id"]]["seq"] == message["seq"]
