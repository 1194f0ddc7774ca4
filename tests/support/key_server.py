"""A little identity provider: it publishes keys on a real socket, signs tokens, and fails on demand."""

import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from raw_servers import Connection, serving
from wire import Gate, Signal

Json = dict[str, Any]

AUDIENCE = "agent-stream"
KEYS = "/keys"
DISCOVERY = "/.well-known/openid-configuration"


class Seconds(int):
    """A time in a claim, in seconds from now."""


@cache
def private_key(algorithm: str, number: int = 0, bits: int = 2048) -> Any:
    """A private key for an algorithm. Another number gives another key."""
    match algorithm[:2]:
        case "RS" | "PS":
            return rsa.generate_private_key(65537, bits)
        case "ES":
            curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
            return ec.generate_private_key(curves[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class SigningKey:
    """A key of the issuer's: `published` is its entry of the key set."""

    kid: str | None = "first"
    algorithm: str = "ES256"
    number: int = 0

    @property
    def private(self) -> Any:
        return private_key(self.algorithm, self.number)

    def published(self, **more: Any) -> Json:
        """Its entry of the key set, as Entra's have it: without `alg`."""
        entry: Json = get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        named = {} if self.kid is None else {"kid": self.kid}
        return {**{name: entry[name] for name in entry if name != "key_ops"}, **named, "use": "sig", **more}

    def pem(self) -> str:
        text: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return text.decode()

    def sign(self, claims: Json, **headers: Any) -> str:
        """A token with exactly these claims. A header that is None is left out."""
        named = {"kid": self.kid, **headers}
        return jwt.encode(
            claims, self.private, self.algorithm, {name: value for name, value in named.items() if value is not None}
        )


def claims(issuer: str, **more: Any) -> Json:
    """The claims of a token that is valid for five minutes. Seconds count from now, and a None is left out."""
    now = int(time.time())
    given = {"iss": issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **more}
    return {
        name: now + value if isinstance(value, Seconds) else value for name, value in given.items() if value is not None
    }


@dataclass
class KeyServer:
    """The issuer: it serves `keys`, or `answer` if that is set, while `gate` is open. `requests` are the paths."""

    issuer: str = ""
    keys: Sequence[Json] = ()
    answer: bytes | None = None
    configuration: Json | None = None
    gate: Gate = field(default_factory=Gate)
    requests: list[str] = field(default_factory=list)
    asked: Signal = field(default_factory=Signal)

    def token(self, key: SigningKey, **more: Any) -> str:
        """A valid token of this issuer, apart from the claims given."""
        return key.sign(claims(self.issuer, **more))

    async def wait_asked(self, times: int) -> None:
        """Wait until the keys were asked for this many times."""
        await self.asked.wait(lambda: self.requests.count(KEYS) >= times, 5, lambda: f"{self.requests}")

    async def talk(self, connection: Connection) -> None:
        while head := await connection.request():
            path = head.split()[1]
            self.requests.append(path)
            self.asked.notify()
            await self.gate.pass_through()
            await connection.say(self.answer or response(self._document(path)))

    def _document(self, path: str) -> Json:
        if path == DISCOVERY:
            return self.configuration or {"issuer": self.issuer, "jwks_uri": f"{self.issuer}{KEYS}"}
        return {"keys": list(self.keys)}


def response(document: Any, status: str = "200 OK") -> bytes:
    """An answer with a document as JSON, or with bytes as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def key_server(*keys: SigningKey, hangs: bool = False) -> AsyncIterator[KeyServer]:
    """An issuer on a free port, which publishes these keys. With `hangs` it answers once its gate is opened."""
    made = KeyServer(keys=[key.published() for key in keys])
    if not hangs:
        made.gate.open()
    async with serving(made.talk) as server:
        made.issuer = f"http://127.0.0.1:{server.port}"
        yield made
        made.gate.open()
