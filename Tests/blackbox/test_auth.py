"""Who is let in: JSON Web Tokens, API keys, guests, and how often."""

import base64
import hashlib
import hmac
import json
import re
import time

import pytest

from conftest import JWT_SECRET, check_problem, eventually, make_token, run_command, unique

LIST = "/api/v2/chat/conversations"


def part(value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes):
    now = int(time.time())
    return {"sub": "mallory", "tenant_id": "demo", "roles": ["end_user"], "iat": now, "exp": now + 600, **changes}


def signed(header, payload, secret=JWT_SECRET, digest=hashlib.sha256):
    """A token by hand, for headers and payloads that PyJWT would not make."""
    body = f"{part(header)}.{part(payload)}"
    return f"{body}.{part(hmac.new(secret.encode(), body.encode(), digest).digest())}"


HS256 = {"alg": "HS256", "typ": "JWT"}


# --- Good tokens


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_token_of_each_hmac_strength_is_accepted(service, algorithm):
    user = unique()
    client = service.client(user, token=make_token(user, algorithm=algorithm))
    assert client.post_message("Hello").status == 200


@pytest.mark.parametrize("changes", [
    {"nbf": 0}, {"aud": "anybody"}, {"iss": "anybody"}, {"jti": "1"}, {"extra": {"deep": [1]}}, {"roles": ["end_user", "unknown"]},
], ids=str)
def test_claims_that_are_not_asked_for_do_no_harm(service, changes):
    assert service.client("x", token=make_token("x", **changes)).get(LIST).status == 200


def test_a_token_without_iat_is_accepted(service):
    assert service.client("x", token=make_token("x", without=["iat"])).get(LIST).status == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(service, scheme):
    response = service.anonymous().get(LIST, headers={"Authorization": f"{scheme} {make_token('x')}"})
    assert response.status == 200


@pytest.mark.parametrize("role", ["end_user", "agent", "service", "admin"])
def test_the_command_line_issues_tokens_of_each_role(service, role):
    token = service.issue_token("demo", "by-command", role)
    assert len(token.splitlines()) == 1
    assert service.client("by-command", token=token).get(LIST).status == 200


def test_a_token_of_the_command_line_carries_the_claims_of_the_contract(service):
    import jwt
    token = service.issue_token("acme", "carol", "end_user", ttl=120)
    payload = jwt.decode(token, JWT_SECRET, algorithms=["HS256", "HS384", "HS512"])
    assert (payload["sub"], payload["tenant_id"], payload["roles"]) == ("carol", "acme", ["end_user"])
    assert 100 <= payload["exp"] - time.time() <= 125


def test_a_generated_secret_is_shared_by_service_and_command_and_survives_a_restart(launch):
    service = launch(JWT_SECRET=None)
    token = service.issue_token("demo", "alice")
    client = service.client("alice", token=token)
    assert client.get(LIST).status == 200
    check_problem(service.client("alice").get(LIST), 401, "unauthenticated")  # Signed with the secret of the tests.
    client.close()
    service.restart()
    assert client.get(LIST).status == 200
    assert token not in service.log()


def test_a_token_expires(service):
    token = service.issue_token("demo", "brief", ttl=1)
    client = service.client("brief", token=token)
    response = eventually(lambda: (lambda answer: answer.status == 401 and answer)(client.get(LIST)), 5 + 60,
                          "the end of a token of one second", every=0.1)
    check_problem(response, 401, "unauthenticated")


# --- Bad tokens

NOW = int(time.time())
BAD_TOKENS = {
    "expired long ago": lambda: make_token("x", ttl=-3600),
    "expired at the epoch": lambda: make_token("x", exp=0),
    "expiring before the epoch": lambda: make_token("x", exp=-5),
    "not valid yet": lambda: make_token("x", nbf=NOW + 3600),
    "without exp": lambda: make_token("x", without=["exp"]),
    "without sub": lambda: make_token("x", without=["sub"]),
    "without tenant": lambda: make_token("x", without=["tenant_id"]),
    "empty tenant": lambda: make_token("x", tenant=""),
    "exp is text": lambda: signed(HS256, claims(exp=str(NOW + 600))),
    "exp is null": lambda: signed(HS256, claims(exp=None)),
    "exp is a list": lambda: signed(HS256, claims(exp=[NOW + 600])),
    "exp is a truth": lambda: signed(HS256, claims(exp=True)),
    "nbf is text": lambda: signed(HS256, claims(nbf="later")),
    "sub is a number": lambda: signed(HS256, claims(sub=5)),
    "sub is empty": lambda: signed(HS256, claims(sub="")),
    "tenant is a list": lambda: signed(HS256, claims(tenant_id=["demo", "acme"])),
    "tenant is null": lambda: signed(HS256, claims(tenant_id=None)),
    "payload is a list": lambda: signed(HS256, [claims()]),
    "payload is not JSON": lambda: signed(HS256, b"not json"),
    "payload is empty": lambda: signed(HS256, b""),
    "payload is not UTF-8": lambda: signed(HS256, b'{"sub":"\xff","tenant_id":"demo","exp":99999999999}'),
    "another key": lambda: make_token("x", secret="another-secret-" + "x" * 60),
    "an empty key": lambda: signed(HS256, claims(), secret=""),
    "the key in lower case": lambda: make_token("x", secret=JWT_SECRET.upper()),
    "alg none": lambda: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims())}.",
    "alg None": lambda: f"{part({'alg': 'None'})}.{part(claims())}.",
    "alg NONE with a signature": lambda: signed({"alg": "NONE"}, claims()),
    "alg nOnE": lambda: f"{part({'alg': 'nOnE'})}.{part(claims())}.",
    "no alg": lambda: signed({"typ": "JWT"}, claims()),
    "alg is null": lambda: signed({"alg": None}, claims()),
    "alg is a list": lambda: signed({"alg": ["HS256"]}, claims()),
    "alg in lower case": lambda: signed({"alg": "hs256"}, claims()),
    "alg HS1": lambda: signed({"alg": "HS1"}, claims(), digest=hashlib.sha1),
    "alg RS256 signed by HMAC": lambda: signed({"alg": "RS256"}, claims()),
    "alg ES256 signed by HMAC": lambda: signed({"alg": "ES256"}, claims()),
    "alg EdDSA signed by HMAC": lambda: signed({"alg": "EdDSA"}, claims()),
    "alg HS512 signed by HS256": lambda: signed({"alg": "HS512"}, claims()),
    "alg HS256 signed by HS512": lambda: signed(HS256, claims(), digest=hashlib.sha512),
    "an unknown critical header": lambda: signed({**HS256, "crit": ["x"], "x": 1}, claims()),
    "a key of the sender's own": lambda: signed({**HS256, "jwk": {"kty": "oct", "k": part(b"mine")}}, claims(), secret="mine"),
    "header is not JSON": lambda: signed(b"nope", claims()),
    "header is a list": lambda: signed(["HS256"], claims()),
    "no signature": lambda: make_token("x").rsplit(".", 1)[0] + ".",
    "no third part": lambda: make_token("x").rsplit(".", 1)[0],
    "four parts": lambda: make_token("x") + ".more",
    "five parts": lambda: make_token("x") + ".more.more",
    "a short signature": lambda: make_token("x")[:-4],
    "a long signature": lambda: make_token("x") + "AAAA",
    "a changed signature": lambda: (lambda t: t[:-10] + ("A" if t[-10] != "A" else "B") + t[-9:])(make_token("x")),
    "a changed payload": lambda: (lambda h, p, s: f"{h}.{part(claims(sub='root', roles=['admin']))}.{s}")(*make_token("x").split(".")),
    "padding": lambda: make_token("x") + "=",
    "the other alphabet": lambda: ".".join(base64.b64encode(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4))).decode()
                                           for p in make_token("x").split(".")),
    "spaces inside": lambda: make_token("x").replace(".", ". "),
    "only dots": lambda: "..",
    "a word": lambda: "shibboleth",
    "a very long token": lambda: "a" * 7_000,
}


@pytest.mark.parametrize("name", BAD_TOKENS)
def test_a_bad_token_is_refused(service, name):
    token = BAD_TOKENS[name]()
    response = service.anonymous().get(LIST, headers={"Authorization": f"Bearer {token}"})
    check_problem(response, 401, "unauthenticated")
    assert token not in response.text, "a token never comes back"


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic YWxpY2U6c2VjcmV0", "Token abc", "Bearer a b",
                                   "Digest username=alice"])
def test_a_header_without_a_bearer_token_is_refused(service, value):
    check_problem(service.anonymous().get(LIST, headers={"Authorization": value}), 401, "unauthenticated")


@pytest.mark.parametrize("method,path", [("GET", LIST), ("POST", "/api/v2/chat/message"),
                                         ("GET", LIST + "/conv_0190b1d2-7c3e-7a4b-8c5d-0123456789ab")])
def test_without_a_credential_nothing_opens(service, method, path):
    check_problem(service.anonymous().request(method, path), 401, "unauthenticated")


def test_a_token_of_a_tenant_that_does_not_exist_is_refused(service):
    check_problem(service.client("x", token=make_token("x", tenant="nobody-has-this")).get(LIST), (401, 403))


def test_two_authorization_headers_do_not_open_what_one_would_not(raw):
    from conftest import request_bytes
    connection = raw()
    connection.send(request_bytes("GET", LIST, [("Authorization", "Bearer bad"), ("Authorization", f"Bearer {make_token('x')}")]))
    check_problem(connection.response(), (400, 401))


@pytest.mark.parametrize("roles", [[], ["nobody"], ["ADMIN"], [""]])
def test_a_token_without_a_known_role_may_do_nothing(service, roles):
    client = service.client("x", token=make_token("x", roles=roles))
    check_problem(client.post_message("Hello"), 403, "forbidden")


@pytest.mark.parametrize("name", ["roles is text", "roles is a number", "roles is an object"])
def test_roles_of_another_shape_never_give_a_right(service, name):
    roles = {"roles is text": "service", "roles is a number": 5, "roles is an object": {"service": True}}[name]
    client = service.client("x", token=signed(HS256, claims(sub="x", roles=roles)))
    check_problem(client.post_message("Hello", user_id="somebody-else"), (401, 403))


def test_the_signature_is_checked_before_expiry_is_told(service):
    forged = service.anonymous().get(LIST, headers={"Authorization": f"Bearer {make_token('x', ttl=-9, secret='y' * 70)}"})
    problem = check_problem(forged, 401, "unauthenticated")
    assert "expired" not in problem["detail"].lower()


# --- API keys


@pytest.fixture(scope="module")
def api_key(shared_service):
    return shared_service.create_api_key("acme", "service")


def with_key(service, secret):
    return service.anonymous(**{"X-API-Key": secret})


def test_an_api_key_speaks_for_any_user_of_its_tenant(service, api_key):
    assert set(api_key) >= {"id", "secret"}
    client = with_key(service, api_key["secret"])
    user = unique()
    response = client.post_message("Hello", user_id=user)
    assert response.status == 200, repr(response)
    owner = service.client(user, tenant="acme")
    assert [item["id"] for item in owner.conversations()["data"]] == [response.json["conversation_id"]]


def test_the_secret_is_the_last_line_for_people(service):
    result = service.command("apikey", "create", "--tenant", "acme", "--name", "human", "--role", "service")
    assert result.returncode == 0, result.stderr
    secret = result.stdout.strip().splitlines()[-1].strip()
    assert len(secret) >= 20 and " " not in secret
    assert with_key(service, secret).get(LIST).status == 200


def test_an_api_key_is_bound_to_its_tenant(service, api_key):
    client = with_key(service, api_key["secret"])
    check_problem(client.get(LIST, headers={"X-Tenant-ID": "demo"}), 403, "tenant_mismatch")
    assert client.get(LIST, headers={"X-Tenant-ID": "acme"}).status == 200


def test_two_keys_differ(service, api_key):
    assert service.create_api_key()["secret"] != api_key["secret"]


@pytest.mark.parametrize("change", [
    lambda secret: secret[:-1], lambda secret: secret + "x", lambda secret: secret[::-1], lambda secret: secret.swapcase(),
    lambda secret: secret[:-1] + ("A" if secret[-1] != "A" else "B"), lambda secret: secret[0], lambda secret: "",
    lambda secret: "key", lambda secret: "k" * 5_000, lambda secret: f"Bearer {secret}", lambda secret: secret + "'--",
    lambda secret: "é" * 20,
], ids=["cut", "longer", "reversed", "swapped case", "changed", "one letter", "empty", "a word", "very long",
        "with a scheme", "with a quote", "not ASCII"])
def test_a_wrong_or_malformed_api_key_is_refused(service, api_key, change):
    secret = change(api_key["secret"])
    response = with_key(service, secret).get(LIST)
    check_problem(response, 401, "unauthenticated")
    assert not secret or len(secret) < 4 or secret not in response.text


def test_the_id_of_a_key_is_not_its_secret(service, api_key):
    check_problem(with_key(service, api_key["id"]).get(LIST), 401, "unauthenticated")


def test_a_token_is_no_api_key_and_a_key_no_token(service, api_key):
    check_problem(with_key(service, make_token("x")).get(LIST), 401, "unauthenticated")
    check_problem(service.anonymous().get(LIST, headers={"Authorization": f"Bearer {api_key['secret']}"}), 401)


def test_a_revoked_key_is_refused(launch):
    service = launch(CONFIG_CACHE_TTL=1)
    key = service.create_api_key("acme", "service")
    client = with_key(service, key["secret"])
    assert client.get(LIST).status == 200
    result = service.command("apikey", "revoke", key["id"])
    assert result.returncode == 0, result.stderr
    response = eventually(lambda: (lambda answer: answer.status == 401 and answer)(client.get(LIST)), 10, "the revocation")
    check_problem(response, 401, "unauthenticated")


def test_secrets_are_not_kept_in_the_clear(launch):
    service = launch()
    secret = service.create_api_key("acme", "service")["secret"]
    assert with_key(service, secret).get(LIST).status == 200
    assert service.stop() == 0
    for path in service.data_directory.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("arguments", [
    ["apikey", "create", "--tenant", "nobody-has-this", "--name", "x", "--role", "service"],
    ["apikey", "create", "--tenant", "acme", "--name", "x", "--role", "emperor"],
    ["token", "issue", "--tenant", "nobody-has-this", "--user", "x", "--role", "end_user"],
    ["token", "issue", "--tenant", "demo", "--user", "x", "--role", "emperor"],
    ["token", "issue", "--tenant", "demo", "--user", "", "--role", "end_user"],
    ["token", "issue", "--tenant", "demo", "--user", "x", "--role", "end_user", "--ttl", "-5"],
], ids=" ".join)
def test_a_command_refuses_what_does_not_exist(service, arguments):
    result = service.command(*arguments)
    assert result.returncode != 0 and result.stderr.strip()
    assert "eyJ" not in result.stdout


def test_the_commands_work_before_the_first_start(tmp_path):
    result = run_command("token", "issue", "--tenant", "demo", "--user", "early", "--role", "end_user",
                         DATA_DIR=tmp_path / "new", JWT_SECRET=JWT_SECRET)
    assert result.returncode == 0 and result.stdout.count(".") == 2, result.stderr


# --- Limits

POLICY = re.compile(r'"(?P<name>[a-z]+)";q=(?P<q>\d+);w=(?P<w>\d+)\Z')
STATE = re.compile(r'"(?P<name>[a-z]+)";r=(?P<r>\d+);t=(?P<t>\d+)\Z')


def limits(response):
    """RateLimit-Policy and RateLimit, read as the structured fields that they are."""
    policy_text, state_text = response.header("RateLimit-Policy"), response.header("RateLimit")
    assert policy_text and state_text, f"limits are told on every answer: {response!r}"
    policy = {match["name"]: (int(match["q"]), int(match["w"]))
              for match in (POLICY.match(item.strip()) for item in policy_text.split(","))}
    state = {match["name"]: (int(match["r"]), int(match["t"]))
             for match in (STATE.match(item.strip()) for item in state_text.split(","))}
    assert set(state) <= set(policy), response
    return policy, state


def test_the_policy_names_the_tenant_and_the_user_who_gets_a_tenth(launch):
    service = launch(DEFAULT_RATE_LIMIT=600, BURST_LIMIT=1000)
    policy, _ = limits(service.client().get(LIST))
    assert policy == {"tenant": (600, 60), "user": (60, 60)}


def test_what_remains_decreases(launch):
    service = launch(DEFAULT_RATE_LIMIT=60, BURST_LIMIT=200)
    client = service.client()
    states = [limits(client.get(LIST))[1] for _ in range(8)]
    name = "tenant" if "tenant" in states[0] else "user"
    remaining = [state[name][0] for state in states]
    assert remaining == sorted(remaining, reverse=True) and remaining[0] - remaining[-1] >= 6, remaining
    assert all(remains >= 0 and reset >= 0 for state in states for remains, reset in state.values())


def test_a_user_that_asks_too_often_is_told_to_wait_and_others_are_not(launch):
    service = launch(DEFAULT_RATE_LIMIT=600, BURST_LIMIT=100)
    greedy, modest = service.client(), service.client()
    statuses = []
    for _ in range(60):
        response = greedy.get(LIST)
        statuses.append(response.status)
        if response.status == 429:
            break
    assert statuses[0] == 200 and statuses[-1] == 429, statuses
    assert 5 <= statuses.count(200) <= 30, "a user has a tenth of the tenant's bucket"
    check_problem(response, 429, "rate_limited")
    check_problem(greedy.post_message("Hello"), 429, "rate_limited")
    assert modest.get(LIST).status == 200
    wait = int(response.header("Retry-After"))
    assert wait <= 61
    eventually(lambda: greedy.get(LIST).status == 200, wait + 3, "the end of the wait that was told", every=0.1)
    assert 'chat_rate_limited_total{' in service.metrics()


def test_a_tenant_that_asks_too_often_is_told_to_wait_and_others_are_not(launch):
    service = launch(DEFAULT_RATE_LIMIT=60, BURST_LIMIT=40)
    backend_statuses = []
    for _ in range(200):
        client = service.client()
        response = client.get(LIST)
        client.close()
        backend_statuses.append(response.status)
        if response.status == 429:
            break
    assert backend_statuses[-1] == 429, "many users of one tenant share the tenant's bucket"
    assert 30 <= backend_statuses.count(200) <= 80, backend_statuses.count(200)
    check_problem(response, 429, "rate_limited")
    assert service.client(tenant="acme").get(LIST).status == 200
    assert service.anonymous().get("/health").status == 200, "health knows no limit"


def test_a_limited_message_is_not_stored(launch):
    service = launch(DEFAULT_RATE_LIMIT=600, BURST_LIMIT=50)
    client, sent = service.client(), 0
    for number in range(50):
        response = client.post_message(f"n{number}", headers={"Prefer": "respond-async"})
        if response.status == 429:
            break
        sent += 1
    assert response.status == 429
    reader = service.client("reader", role="service")
    conversation_id = reader.conversations(user_id=client.user)["data"][0]["id"]
    inbound = [entry for entry in reader.messages(conversation_id) if entry["direction"] == "inbound"]
    assert len(inbound) == sent


def test_guests_are_limited_by_address(launch):
    service = launch(DEFAULT_RATE_LIMIT=600, BURST_LIMIT=1000)
    client, statuses = service.anonymous(), []
    for number in range(1_500):
        response = client.post("/api/v2/auth/guest", {"tenant_id": "demo"},
                               headers={"X-Forwarded-For": f"203.0.113.{number % 250}"})
        statuses.append(response.status)
        if response.status == 429:
            break
    assert statuses[0] in (200, 201) and statuses[-1] == 429, "an address that asks for ever more guests is stopped"
    check_problem(response, 429, "rate_limited")
    assert service.client().get(LIST).status == 200, "those who have a token go on"


def test_bad_credentials_do_not_use_up_a_tenants_limit(launch):
    service = launch(DEFAULT_RATE_LIMIT=60, BURST_LIMIT=20)
    forger = service.client("x", token=make_token("x", secret="z" * 64))
    for _ in range(40):
        assert forger.get(LIST).status in (401, 429)
    assert service.client().get(LIST).status == 200
