"""Whose is what a call names: things stored at a provider belong to the account that made them here.

Our credential can read what any of our accounts made, so whoever names a thing must be its owner. Another's
is refused in the same words, and after the same wait, as one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from gateway.domain.errors import NotFound
from gateway.store.belongings import owners, where_kept
from gateway.store.engine import Database

__all__ = ["Belongings", "missing"]

# What was made a moment ago elsewhere is looked for again until it has been posted.
LOOKS: Final = 20
LOOKS_UNKNOWN_ALLOWED: Final = 2
LOOK_S: Final = 0.05
# Things remembered before the memory starts afresh.
REMEMBERED: Final = 65_536


class Belongings:
    """What this worker knows of who owns what; the rest is in SQL."""

    def __init__(
        self, database: Database, shared: Collection[str] = (), *, allows_unknown: bool = False
    ) -> None:
        """`shared` may be named by everybody; `allows_unknown` lets pass what was not made here."""
        self._database = database
        self._shared = frozenset(shared)
        self._allows_unknown = allows_unknown
        self._owners: dict[str, dict[str, str]] = {}  # by id and upstream

    def keep(self, upstream: str, ids: Iterable[str], account: str) -> None:
        """A call of the account has made these; whose they are is in the journal or in SQL already."""
        if len(self._owners) >= REMEMBERED:
            self._owners.clear()
        for each in ids:
            self._owners.setdefault(each, {}).setdefault(upstream, account)

    def has(self, upstream: str, ids: Iterable[str], account: str) -> bool:
        """Whether all of these are known to be the account's, or everybody's."""
        return not self._strange(upstream, ids, account)

    async def check(self, upstream: str, ids: Sequence[str], account: str) -> None:
        """Raise NotFound unless all of these are the account's; Unavailable while SQL cannot be asked."""
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_S)
            strange = self._strange(upstream, ids, account)
            known = await self._database.read(owners, upstream, strange) if strange else {}
            for each, owner in known.items():
                self.keep(upstream, [each], owner)
            left = [each for each in strange if known.get(each) != account]
            if not left:
                return
            is_unknown = not any(each in known for each in left)
            if self._allows_unknown and is_unknown and look + 1 >= LOOKS_UNKNOWN_ALLOWED:
                return
        raise missing(left[0])

    async def find(self, id_: str, account: str) -> str:
        """The upstream that keeps this for the account; raise NotFound as `check` does."""
        for upstream, owner in self._owners.get(id_, {}).items():
            if owner == account:
                return upstream
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(LOOK_S)
            found = await self._database.read(where_kept, id_, account)
            if found is not None:
                return found
        raise missing(id_)

    def _strange(self, upstream: str, ids: Iterable[str], account: str) -> list[str]:
        return [
            each
            for each in ids
            if each not in self._shared and self._owners.get(each, {}).get(upstream) != account
        ]


def missing(id_: str) -> NotFound:
    """The same for what is another's and for what is nobody's."""
    return NotFound(
        "not_found",
        f"There is no {id_[:255]!r} of yours.",
        hint="What is stored at a provider belongs to the account that made it through this gateway;"
        " the operator may share what was made elsewhere (tenancy.shared_ids).",
    )
