"""The secret by which API keys are stored and run tokens are signed: AUTH_SECRET, or a file in DATA_DIR."""

import logging
import os
import secrets
from pathlib import Path

from settings import Settings

logger = logging.getLogger(__name__)

FILE = "auth_secret"
LENGTH = 32  # bytes
OTHERS = 0o077  # the permissions of everybody but the owner of a file


def secret_of(settings: Settings) -> bytes:
    """Return the secret. The file is made at the first start. Raise `OSError` if it can't be read or made."""
    if settings.auth_secret is not None:
        return settings.auth_secret.get_secret_value().encode()
    file = settings.data_dir / FILE
    if not file.exists():
        _make(file)
    if file.stat().st_mode & OTHERS:
        logger.warning("%s can be read by others. Run: chmod 600 %s", file, file)
    return bytes.fromhex(file.read_text())


def _make(file: Path) -> None:
    """Write a new secret, unless another process does so at the same moment. The file is never there in part."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_name(f"{FILE}-{os.getpid()}")
    new.touch(mode=0o600)
    new.write_text(secrets.token_hex(LENGTH))
    try:
        os.link(new, file)
    except FileExistsError:
        logger.info("another process has made %s", file)
    finally:
        new.unlink()
