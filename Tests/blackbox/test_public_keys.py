"""Tokens that somebody else signs: RS256, ES256 and EdDSA, made by PyJWT and verified with JWT_PUBLIC_KEY_FILE."""

import hashlib
import hmac
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from conftest import check_problem, make_token, run_command, unique
from test_auth import part

LIST = "/api/v2/chat/conversations"
ALGORITHMS = ["RS256", "ES256", "EdDSA"]


def new_key(algorithm):
    if algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1()) if algorithm == "ES256" else ed25519.Ed25519PrivateKey.generate()


def public_pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture(scope="module")
def keys():
    return {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}


@pytest.fixture(scope="module")
def key_file(keys, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "issuers.pem"
    path.write_text("# Whom we believe\n" + "".join(public_pem(key) for key in keys.values()))
    return path


@pytest.fixture
def keyed(launch, key_file):
    return launch(JWT_PUBLIC_KEY_FILE=key_file)


def asked(service, token):
    return service.anonymous().get(LIST, headers={"Authorization": f"Bearer {token}"})


def test_tokens_of_every_issuer_are_accepted_and_forgeries_are_not(keyed, keys):
    for algorithm, key in keys.items():
        user = unique()
        good = make_token(user, secret=key, algorithm=algorithm, headers={"kid": "2026-1"})
        client = keyed.client(user, token=good)
        assert client.post_message("Hello").status == 200, algorithm
        with keyed.chat(client) as socket:
            socket.subscribe(client.say("Again")["conversation_id"])
        head, payload, signature = good.split(".")
        other = make_token(user, secret=new_key(algorithm), algorithm=algorithm)
        for forged in (other, f"{head}.{payload}.", f"{head}.{payload}.{signature[:-8]}AAAAAAAA", f"{head}.{payload}.{signature[:-4]}"):
            check_problem(asked(keyed, forged), 401, "unauthenticated")
        expired = make_token(user, secret=key, algorithm=algorithm, ttl=-10)
        check_problem(asked(keyed, expired), 401, "unauthenticated")
    assert asked(keyed, make_token(unique())).status == 200, "the secret holds beside the keys"


def test_a_public_key_is_no_secret(keyed, keys, key_file):
    claims = {"sub": unique(), "tenant_id": "demo", "exp": int(time.time()) + 600}
    for text in [*map(public_pem, keys.values()), key_file.read_text()]:
        for secret in (text, text.strip()):
            body = f"{part({'alg': 'HS256'})}.{part(claims)}"
            token = f"{body}.{part(hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest())}"
            check_problem(asked(keyed, token), 401, "unauthenticated")


@pytest.mark.parametrize("text, reason", [
    (None, "No such file"), ("", "no public key"), ("hello", "no public key"),
    ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "private key"),
    ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "none of RSA, P-256 and Ed25519"),
])
def test_a_file_of_no_use_is_a_fault_of_the_configuration(launch, tmp_path, text, reason):
    path = tmp_path / "keys.pem"
    if text is not None:
        path.write_text(text)
    service = launch(begin=False, JWT_PUBLIC_KEY_FILE=path)
    result = run_command("serve", **service.variables)
    assert result.returncode == 78
    assert "JWT_PUBLIC_KEY_FILE" in result.stderr and str(path) in result.stderr and reason in result.stderr
