"""A team as it meets the gateway: an account of its own with keys and budgets, and the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import openai
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.running import Answer, Client, Gateway, eventually

__all__ = ["Team", "nano"]


def nano(usd: str) -> int:
    """An amount as the gateway prints it, in nano-USD."""
    whole, _, fraction = usd.removeprefix("-").partition(".")
    return (-1 if usd.startswith("-") else 1) * (int(whole) * 10**9 + int(fraction.ljust(9, "0")))


class Team:
    """One account of a running gateway, with a key made when it is first needed."""

    def __init__(self, gateway: Gateway, name: str) -> None:
        self.gateway = gateway
        self.account = gateway.account(name)
        self._key = ""

    def budget(self, cap: str, **fields: Any) -> str:
        """A budget of the account; made before the first call, it is there for it."""
        return self.gateway.budget(cap, account=self.account, **fields)

    def make_key(self, **fields: Any) -> str:
        """Another key, which becomes the team's."""
        self._key = self.gateway.key(self.account, **fields)
        return self._key

    @property
    def key(self) -> str:
        """The team's key."""
        return self._key or self.make_key()

    @property
    def client(self) -> Client:
        """A plain client."""
        return self.gateway.client(self.key)

    @contextmanager
    def sdk(self, **options: Any) -> Iterator[openai.OpenAI]:
        """The official SDK, without retries unless asked for."""
        given: dict[str, Any] = {"max_retries": 0, "api_key": self.key, **options}
        with openai.OpenAI(base_url=f"{self.gateway.url}/v1", **given) as client:
            yield client

    # What the gateway says afterwards.

    def receipt(self, call: str) -> dict[str, Any]:
        """The receipt of a call that has ended: it has to be there at once."""
        found: dict[str, Any] = self.client.get(f"/v1/calls/{call}")
        return found

    def receipt_of(self, answer: Answer) -> dict[str, Any]:
        """The receipt of the call that this answered."""
        return self.receipt(answer.headers["x-tollgate-call-id"])

    def rows(self) -> list[dict[str, Any]]:
        """The account's ledger rows so far, oldest first, JSON columns read."""
        return [
            {name: _read(name, value) for name, value in row.items()}
            for row in self.sql("SELECT * FROM ledger WHERE account = :account ORDER BY admitted_at, seq")
        ]

    def booked(self, count: int) -> list[dict[str, Any]]:
        """The ledger rows once there are so many."""
        return eventually(lambda: rows if len(rows := self.rows()) >= count else None, f"{count} ledger rows")

    def sql(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """What the database has; `:account` stands for the team's."""
        engine = create_engine(self.gateway.database_url, poolclass=NullPool)
        with engine.connect() as conn:
            rows = conn.execute(text(statement), {"account": self.account, **parameters})
            return [dict(row) for row in rows.mappings()]

    def settled(self) -> dict[str, Any]:
        """The first budget as the key sees it, once nothing is held and it has spent what the ledger has."""
        return eventually(self._settled, "nothing is held, and the budget has spent what the ledger has")

    def _settled(self) -> dict[str, Any] | None:
        budget: dict[str, Any] = self.client.get("/v1/key")["budgets"][0]
        booked = sum(row["charge"] for row in self.rows())
        return budget if budget["held"] == "0" and nano(budget["spent"]) == booked else None


def _read(name: str, value: Any) -> Any:
    return msgspec.json.decode(value) if name in ("usage", "lines", "flags", "windows", "tags") else value
