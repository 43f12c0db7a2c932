"""Signatures of the Standard Webhooks specification 1.0.0, symmetric form (`v1`). Pure.

Signed is `{id}.{timestamp}.{body}` with HMAC-SHA256; the secret is base64 behind `whsec_`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

__all__ = ["SECRET_BYTES", "secret_text", "signed_headers"]

SECRET_BYTES: Final = 32
_PREFIX: Final = "whsec_"


def secret_text(random_bytes: bytes) -> str:
    """A secret as it is shown, once: `whsec_` and 32 random bytes in base64."""
    assert len(random_bytes) == SECRET_BYTES, "a secret is made of 32 random bytes"
    return _PREFIX + base64.b64encode(random_bytes).decode()


def signed_headers(secrets: Sequence[str], message: str, at_s: int, body: bytes) -> list[tuple[bytes, bytes]]:
    """The three headers of one attempt at `at_s`, signed with each secret: two while they are changed."""
    text = b"%b.%d.%b" % (message.encode(), at_s, body)
    signatures = " ".join(_signature(secret, text) for secret in secrets)
    return [
        (b"webhook-id", message.encode()),
        (b"webhook-timestamp", b"%d" % at_s),
        (b"webhook-signature", signatures.encode()),
    ]


def _signature(secret: str, text: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
