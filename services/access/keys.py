"""The form of API keys: an id that is looked up and shown in lists, and a secret that is checked."""

import hmac
import re
import secrets
import string
from typing import NamedTuple

ALPHABET = string.ascii_lowercase + string.digits
ID_LENGTH = 12
SECRET_LENGTH = 43  # of 36 characters: 222 bits
KEY = re.compile(rf"(as_[a-z0-9]{{{ID_LENGTH}}})_[a-z0-9]{{{SECRET_LENGTH}}}")


class KeyText(NamedTuple):
    """A new key and its id, which is the beginning of the key."""

    key_id: str
    key: str


def new_key() -> KeyText:
    """Return a random key."""
    key_id = f"as_{_random(ID_LENGTH)}"
    return KeyText(key_id, f"{key_id}_{_random(SECRET_LENGTH)}")


def id_in(key: str) -> str:
    """Return the id in a key, or an empty text if this is no key of ours."""
    found = KEY.fullmatch(key)
    return found[1] if found else ""


def digest_of(secret: bytes, key: str) -> str:
    """Return the stored form of a key: its HMAC, from which neither this key nor another one can be found."""
    return hmac.digest(secret, key.encode(), "sha256").hex()


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
