"""The two spellings of Gemini's field names, and those that are neither.

Google's JSON takes `maxOutputTokens` as well as `max_output_tokens` (Protocol Buffers, "ProtoJSON format").
So a request could say the same thing twice and differently, and no one knows which of them is obeyed; where
it decides about money, that is refused, and so is a spelling which somebody might take for one of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from gateway.domain.errors import BadRequest
from gateway.formats.splice import Member

__all__ = ["Spelling"]


class Spelling:
    """The names of one object that may be there once, by their camel-case spelling."""

    def __init__(self, *names: str) -> None:
        self._names: Final = {_folded(name): name for name in names}
        self._spelled: Final = {spelled: name for name in names for spelled in (name, _snake(name))}

    @property
    def known(self) -> Collection[str]:
        """Every way in which the names are spelled."""
        return self._spelled.keys()

    def located(self, members: Iterable[Member], within: str = "") -> dict[str, Member]:
        """The members of these names, by their camel-case spelling. Raises BadRequest for an ambiguity."""
        found: dict[str, Member] = {}
        for member in members:
            name = self._spelled.get(member.key)
            if name is None:
                meant = self._names.get(_folded(member.key))
                if meant is not None:
                    raise _refusal(within + member.key, f"`{within}{member.key}` is not `{within}{meant}`.")
                continue
            if name in found:
                raise _refusal(within + name, f"`{within}{name}` is in the body twice.")
            found[name] = member
        return found


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _refusal(param: str, message: str) -> BadRequest:
    return BadRequest(
        "invalid_value",
        message,
        param=param,
        hint="Spell each field once, as the API reference does.",
    )
