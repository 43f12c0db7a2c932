"""What an operation of the admin plane is: one value, from which routes, checks and OpenAPI are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.alerts.targets import Targets
from gateway.clock import Clock
from gateway.domain.credits import Credit
from gateway.domain.errors import Conflict
from gateway.domain.ids import ATTEMPT_RANDOM_BYTES, new_id
from gateway.domain.tenancy import AdminKey
from gateway.store.engine import Database

__all__ = ["AdminDeps", "Call", "Change", "Done", "Operation", "Page", "PageQuery", "Run", "page_of"]

B = TypeVar("B")
Q = TypeVar("Q")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AdminDeps:
    """What the admin plane is given.

    `entropy` returns that many random bytes. `changed` is called with a topic of `store.revisions` once its
    change is committed, so that this worker does not wait for its next poll. `targets` reads and judges where
    alerts may go. `signup_grant` is what every
    new account is given. `aliases`, `providers` (in their order) and `prices_of` (by upstream: whose
    prices its calls pay) are those of the configuration.
    """

    database: Database
    clock: Clock
    entropy: Callable[[int], bytes]
    changed: Callable[[str], None]
    targets: Targets
    signup_grant: Credit | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    providers: tuple[str, ...] = ()
    prices_of: Mapping[str, str] = field(default_factory=dict)
    max_body_bytes: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One request, read and checked: the ids in its path, its query, its body.

    `if_match` is the revision that the caller believes the thing to have; None when it did not say.
    """

    deps: AdminDeps
    admin: AdminKey
    now_us: int
    path: Mapping[str, str]
    query: Q
    body: B
    if_match: str | None = None

    def new_id(self, prefix: str) -> str:
        """A fresh id such as `key_...`."""
        return new_id(prefix, self.deps.entropy(ATTEMPT_RANDOM_BYTES))

    def expect(self, revision: int) -> None:
        """Raise Conflict (`precondition_failed`) when the caller has seen another revision than this."""
        if self.if_match not in (None, "*", etag(revision)):
            raise Conflict(
                "precondition_failed",
                "It was changed since you read it.",
                hint="Read it again, and repeat the change with the new ETag if it still makes sense.",
                param="If-Match",
            )


@dataclass(frozen=True, slots=True)
class Change:
    """What the audit log is told: `before` and `after` as an administrator sees them, secrets left out."""

    action: str
    object_id: str
    before: msgspec.Struct | None
    after: msgspec.Struct | None


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome: what to answer, what was changed, and the revision that a PATCH can ask for."""

    answer: msgspec.Struct | None
    change: Change | None = None
    revision: int | None = None
    status: int | None = None


class Run(Protocol):
    """An operation's function: inside one transaction, from a call to its outcome."""

    def __call__(self, conn: Connection, call: Call[Any, Any], /) -> Done: ...


class PageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which part of a list."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="How many at most.")] = 50
    after: (
        Annotated[
            str, Meta(max_length=64, description="Continue behind this id: the `next` of the page before.")
        ]
        | None
    ) = None


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """A part of a list. `next` is what to give as `after` for the part behind it."""

    object: str
    data: list[T]
    has_more: bool
    next: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path.

    `check` is awaited before the transaction, for what takes time and writes nothing.
    `may_be_empty` lets a request without a body count as `{}`. `status` is what it answers when all is well,
    `also` what it may answer instead. `topics` are what it changes, in the order of
    `store.revisions.TOPICS`. `problems` are the statuses of problems it may have besides those that every
    operation may.
    """

    name: str
    method: str
    path: str
    summary: str
    run: Run
    answer: Any
    status: int = 200
    also: tuple[int, ...] = ()
    body: Any = None
    may_be_empty: bool = False
    query: Any = None
    topics: tuple[str, ...] = ()
    problems: tuple[int, ...] = ()
    check: Callable[[Call[Any, Any]], Awaitable[None]] | None = None

    @property
    def is_write(self) -> bool:
        """Whether it runs in a transaction that changes something."""
        return self.method != "GET"


def etag(revision: int) -> str:
    """The entity tag of a thing at this revision."""
    return f'"{revision}"'


def page_of(rows: Sequence[Any], limit: int, shown: Callable[[Any], Any]) -> Done:
    """The page of rows that were asked for with one more than `limit`, to see whether more follow."""
    data = [shown(row) for row in rows[:limit]]
    has_more = len(rows) > limit
    following = str(data[-1].id) if has_more else None
    return Done(Page(object="list", data=data, has_more=has_more, next=following))
