"""What people write on a command line, as the API wants it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.client import USAGE, Client, CommandFailed

__all__ = ["AsJson", "account_id", "file_text", "given", "instant", "pairs", "seconds"]

AsJson = Annotated[bool, typer.Option("--json", help="Print data as JSON.", show_default=False)]

_DURATION: Final = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def account_id(client: Client, named: str) -> str:
    """The id of an account named by id or by path."""
    if named.startswith("acct_"):
        return named
    found = client.get("/admin/accounts", path=named.strip("/"))["data"]
    if not found:
        raise CommandFailed(
            f"There is no account {named}.", "`tollgate accounts list` shows the accounts there are."
        )
    return str(found[0]["id"])


def seconds(text: str) -> int:
    """Seconds of a duration such as 90s, 30m, 1h, 7d."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 90s, 30m, 1h, 7d or 2w.")
    return int(match[1]) * _SECONDS[match[2]]


def instant(text: str | None) -> str | None:
    """An instant: RFC 3339 as it is, a date as its midnight in UTC, a duration as counted from now."""
    if text is None:
        return None
    if _DATE.fullmatch(text):
        return f"{text}T00:00:00Z"
    if _DURATION.fullmatch(text):
        return (datetime.now(UTC) + timedelta(seconds=seconds(text))).isoformat()
    return text


def pairs(written: Sequence[str]) -> dict[str, str]:
    """Tags written as NAME=VALUE."""
    tags: dict[str, str] = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not equals:
            raise typer.BadParameter(f"{each!r} is no tag; write NAME=VALUE.")
        tags[name] = value
    return tags


def given(**values: Any) -> Mapping[str, Any]:
    """The options that were given."""
    return {name: value for name, value in values.items() if value is not None}


def file_text(file: Path) -> str:
    """What a file says."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(
            f"{file} cannot be read: {error}.", "Give a text file, as UTF-8.", USAGE
        ) from None
