"""Secrets that have to be read again: encrypted with this gateway's key, each purpose with a key of its own.

Virtual and admin keys are hashed; what must come back (a webhook's secret, the admin key of a dashboard's
session) is sealed: AES-128-CBC with HMAC-SHA256 (the Fernet format), the time inside.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["KEY_FILE", "Seal", "encryption_key", "write_secret"]

KEY_FILE = "encryption-key"
KEY_BYTES = 32


class Seal:
    """Seals texts for one purpose; what is sealed for another does not open."""

    def __init__(self, secret: str, purpose: str) -> None:
        derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=f"tollgate {purpose}".encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived.derive(secret.encode())))

    def seal(self, text: str) -> str:
        """The text, so that only this gateway can read it or make another."""
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str, lasts_s: int | None = None) -> str | None:
        """The text, if it was sealed here, and no longer ago than `lasts_s` seconds; else None."""
        try:
            return self._fernet.decrypt(sealed.encode(), ttl=lasts_s).decode()
        except InvalidToken:
            return None


def encryption_key(configured: str, folder: Path) -> str:
    """The configured key, or the one in the data folder, made where there is none.

    Several machines on one database need one key, and so a configured one.
    """
    if configured:
        return configured
    path = folder / KEY_FILE
    if not path.exists():
        write_secret(path, base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).decode())
    return path.read_text(encoding="utf-8").strip()


def write_secret(path: Path, text: str) -> Path:
    """Write a secret so that only its owner can read it; where it is."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
    return path
