"""Certificates for tests, made by the `openssl` command: authorities, and what they sign."""

import ssl
import subprocess


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE, timeout=30)


class Identity:
    """A certificate and its key, as PEM files."""

    def __init__(self, certificate, key):
        self.certificate, self.key = certificate, key

    def copy_to(self, other):
        """Writes this identity over the files of another, as a renewal does."""
        other.certificate.write_bytes(self.certificate.read_bytes())
        other.key.write_bytes(self.key.read_bytes())

    @property
    def der(self):
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())


class Authority:
    def __init__(self, directory, name="authority"):
        self.directory, self.name = directory, name
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = directory / f"{name}.pem", directory / f"{name}.key"
        self._request(self.certificate, self.key, name, "ec", "basicConstraints=critical,CA:TRUE",
                      "keyUsage=critical,keyCertSign,cRLSign")

    @staticmethod
    def _request(certificate, key, name, kind, *extensions, signed_by=()):
        algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", kind]
        openssl("req", "-x509", *algorithm, "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj", f"/CN={name}",
                *(part for extension in extensions for part in ("-addext", extension)), *signed_by)

    def issue(self, name, kind="ec"):
        identity = Identity(self.directory / f"{self.name}-{name}.pem", self.directory / f"{self.name}-{name}.key")
        self._request(identity.certificate, identity.key, name, kind, "subjectAltName=DNS:localhost,IP:127.0.0.1",
                      "basicConstraints=critical,CA:FALSE", signed_by=("-CA", self.certificate, "-CAkey", self.key))
        return identity

    def client_context(self, identity=None, version=None, alpn=None):
        """What a client trusts and offers; `version`: only this one."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if version:
            context.minimum_version = context.maximum_version = version
        if identity:
            context.load_cert_chain(identity.certificate, identity.key)
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def server_variables(identity, client_authority=None):
    return {"TLS_CERT_FILE": identity.certificate, "TLS_KEY_FILE": identity.key,
            "TLS_CLIENT_CA_FILE": client_authority.certificate if client_authority else None}
