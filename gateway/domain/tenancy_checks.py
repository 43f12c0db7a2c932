"""Whether what an administrator says of accounts and keys can be kept and shown: the first fault is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from gateway.domain.errors import BadRequest

__all__ = ["NAME_MAX_CHARACTERS", "check_account_name", "check_instant", "check_label", "check_metadata"]

NAME_MAX_CHARACTERS: Final = 255
METADATA_MAX_CHARACTERS: Final = 16_384


def check_label(text: str, *, param: str) -> None:
    """Raise BadRequest unless the text can be shown in a log, a table and a report: one printable line."""
    if not 1 <= len(text) <= NAME_MAX_CHARACTERS:
        raise _invalid(param, f"It has {len(text)} characters", f"Give 1 to {NAME_MAX_CHARACTERS}.")
    unfit = next((character for character in text if not character.isprintable()), None)
    if unfit is not None:
        raise _invalid(param, f"It contains the character U+{ord(unfit):04X}", "Use printable characters.")
    if text != text.strip():
        raise _invalid(param, "It begins or ends with a space", "Leave those spaces out.")


def check_account_name(text: str) -> None:
    """Raise BadRequest unless the text can be one step of an account's path."""
    check_label(text, param="name")
    if "/" in text:
        raise _invalid(
            "name", "It contains a slash, which separates the names of a path", "Use another sign."
        )


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Raise BadRequest for more metadata than a row should carry."""
    size = len(json.dumps(metadata))
    if size > METADATA_MAX_CHARACTERS:
        hint = f"Keep it under {METADATA_MAX_CHARACTERS} characters of JSON."
        raise _invalid("metadata", f"It has {size} characters", hint)


def check_instant(at_us: int, now_us: int, *, param: str) -> None:
    """Raise BadRequest for an end that has already come."""
    if at_us <= now_us:
        raise _invalid(param, "It is in the past", "Give a time to come, or null for no end.")


def _invalid(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{param}: {problem[0].lower()}{problem[1:]}.", hint=hint, param=param)
