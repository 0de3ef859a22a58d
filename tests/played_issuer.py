"""An issuer of OpenID Connect that tests run: real keys, real HTTP(S), and all that can go wrong (no tests in here)."""

import base64
import json
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.certificates import Certificate
from tests.servers import HOST, free_ports

AUDIENCE, CLIENT = "tarpon-api", "tarpon-cli"
DISCOVERY = "/.well-known/openid-configuration"
ADA = {"sub": "248289761001", "preferred_username": "ada", "groups": ["people"]}


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def json_part(what: Any) -> str:
    return encoded(json.dumps(what).encode())


def _number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8))


class IssuersKey:
    """`algorithm` is how it signs."""

    def __init__(self, algorithm: str = "ES256", *, bits: int = 2048, kid: str = "") -> None:
        self.kid = kid or uuid.uuid4().hex[:8]
        self.algorithm = algorithm
        self.private: Any
        if algorithm[0] in "RP":
            self.private = rsa.generate_private_key(65537, bits)
        elif algorithm.startswith("Ed"):
            self.private = ed25519.Ed25519PrivateKey.generate()
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, Any]:
        public = self.private.public_key()
        match public:
            case rsa.RSAPublicKey():
                numbers = public.public_numbers()
                kind = {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
            case ec.EllipticCurvePublicKey():
                point = public.public_numbers()
                kind = {
                    "kty": "EC",
                    "crv": "P-256",
                    "x": encoded(point.x.to_bytes(32)),
                    "y": encoded(point.y.to_bytes(32)),
                }
            case _:
                raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
                kind = {"kty": "OKP", "crv": "Ed25519", "x": encoded(raw)}
        return {**kind, "kid": self.kid, "use": "sig", "alg": self.algorithm}

    @property
    def pem(self) -> bytes:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        made: bytes = self.private.public_key().public_bytes(serialization.Encoding.PEM, kind)
        return made

    def sign(self, data: bytes) -> bytes:
        signed: bytes
        match self.private:
            case rsa.RSAPrivateKey() if self.algorithm.startswith("PS"):
                salted = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
                signed = self.private.sign(data, salted, hashes.SHA256())
            case rsa.RSAPrivateKey():
                signed = self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
                signed = r.to_bytes(32) + s.to_bytes(32)
            case _:
                signed = self.private.sign(data)
        return signed

    def token(self, claims: dict[str, Any], **header: Any) -> str:
        told = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **header}
        signed = f"{json_part({k: v for k, v in told.items() if v is not None})}.{json_part(claims)}"
        return f"{signed}.{encoded(self.sign(signed.encode()))}"


class Device:
    """One sign-in that waits for its person. `answers` are told before anything else, one at a time."""

    def __init__(self) -> None:
        self.code, self.user_code = uuid.uuid4().hex, "WDJB-MJHT"
        self.answers: list[str] = []
        self.is_approved = False


class PlayedIssuer:
    """Change its attributes to have it go wrong. `bodies` are given in the place of what a path has."""

    def __init__(self, certificate: Certificate | None = None) -> None:
        (self.port,) = free_ports(1)
        self._certificate = certificate
        self.url = f"{'https' if certificate else 'http'}://{HOST}:{self.port}/realm"
        self.key = IssuersKey()
        self.published = [self.key.jwk]
        self.discovered: dict[str, Any] = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "device_authorization_endpoint": f"{self.url}/device",
            "token_endpoint": f"{self.url}/token",
        }
        self.bodies: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.redirects: dict[str, str] = {}
        self.held: dict[str, threading.Event] = {}
        """A path here is answered once its event is set."""
        self.asked: Counter[str] = Counter()
        self.devices: dict[str, Device] = {}
        self.first_answers: list[str] = []
        """What each new device is answered first, such as slow_down."""
        self.approves = True
        self.interval: float = 1
        self.code_lasts: float = 60
        self.person: dict[str, Any] = dict(ADA)
        self.lasts_seconds = 300
        self.refresh_tokens: set[str] = set()
        self.forms: list[dict[str, str]] = []
        self._server: ThreadingHTTPServer | None = None

    def __repr__(self) -> str:
        return f"<PlayedIssuer at {self.url}>"

    def token(self, key: IssuersKey | None = None, /, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """One that is right but for what is given; None leaves a claim out."""
        now = int(time.time())
        all_claims = {"iss": self.url, "aud": AUDIENCE, "iat": now, "exp": now + self.lasts_seconds, **ADA, **claims}
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return (key or self.key).token(kept, **(header or {}))

    def rotate(self) -> None:
        """From now on another key signs, and it alone is published."""
        self.key = IssuersKey()
        self.published = [self.key.jwk]

    @contextmanager
    def running(self) -> Iterator["PlayedIssuer"]:
        self.start()
        try:
            yield self
        finally:
            for event in self.held.values():
                event.set()
            self.stop()

    def start(self) -> None:
        """Also again, at the same address."""
        server = _Server((HOST, self.port), _handler(self))
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate.certificate, self._certificate.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self._server = server
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        match path.removeprefix("/realm"):
            case "/.well-known/openid-configuration":
                return 200, self.discovered
            case "/keys":
                return 200, {"keys": self.published}
            case "/device":
                return self._begin(form)
            case "/token":
                return self._token(form)
            case _:
                return 404, {}

    def _begin(self, form: dict[str, str]) -> tuple[int, Any]:
        if form.get("client_id") != CLIENT:
            return 401, {"error": "invalid_client"}
        device = Device()
        device.answers, device.is_approved = list(self.first_answers), self.approves
        self.devices[device.code] = device
        return 200, {
            "device_code": device.code,
            "user_code": device.user_code,
            "verification_uri": f"{self.url}/activate",
            "verification_uri_complete": f"{self.url}/activate?user_code={device.user_code}",
            "expires_in": self.code_lasts,
            "interval": self.interval,
        }

    def _token(self, form: dict[str, str]) -> tuple[int, Any]:
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") not in self.refresh_tokens:
                return 400, {"error": "invalid_grant"}
            self.refresh_tokens.discard(form["refresh_token"])
            return 200, self._tokens()
        device = self.devices.get(form.get("device_code", ""))
        if device is None:
            return 400, {"error": "invalid_grant"}
        if device.answers:
            return 400, {"error": device.answers.pop(0)}
        if not device.is_approved:
            return 400, {"error": "authorization_pending"}
        del self.devices[device.code]
        return 200, self._tokens()

    def _tokens(self) -> dict[str, Any]:
        refresh = uuid.uuid4().hex
        self.refresh_tokens.add(refresh)
        return {
            "access_token": self.token(**self.person, jti=uuid.uuid4().hex),
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": self.lasts_seconds,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Who asked has gone."""


def _handler(issuer: PlayedIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            issuer.forms.append(form)
            self._serve(form)

        def _serve(self, form: dict[str, str]) -> None:
            name = self.path.removeprefix("/realm")
            issuer.asked[name] += 1
            if name in issuer.held:
                issuer.held[name].wait(60)
            if name in issuer.redirects:
                self.send_response(302)
                self.send_header("Location", issuer.redirects[name])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, told = issuer.answer(self.path, form)
            body = issuer.bodies.get(name, json.dumps(told).encode())
            self.send_response(issuer.statuses.get(name, status))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's own
            """Nothing."""

    return Handler
