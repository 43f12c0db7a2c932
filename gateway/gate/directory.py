"""Who may call what, in memory: accounts, keys, budgets and prices as admission needs them.

Loaded once, then kept up to date by revision: every change anywhere takes its topic's next number, and a
poll reads the rows stamped later than what is known. A change takes effect everywhere within a poll.
Nothing here waits for SQL while a call is admitted, but for a key this worker has never seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection

from gateway.domain.budgets import Budget
from gateway.domain.catalogue import Catalogue
from gateway.domain.errors import Unavailable
from gateway.domain.names import NameGate
from gateway.domain.scopes import Scope, budgets_for, names_in
from gateway.domain.tenancy import Account, VirtualKey
from gateway.gate.plans import Plan
from gateway.store.budgets import BudgetChanges, budgets_since
from gateway.store.engine import Database
from gateway.store.prices import load_catalogue
from gateway.store.revisions import numbers
from gateway.store.tenancy import accounts_since, key_by_fingerprint, keys_since

__all__ = ["Applicable", "Caller", "Directory"]

T = TypeVar("T")
U = TypeVar("U")

# A budget that applies to a call, and whose window of it (the value of `each`).
Applicable = tuple[Budget, str]

# Distinct (model, end user, tags) combinations, and names of models, remembered per key before the memory
# starts afresh: callers choose them, and there is no end to them.
REMEMBERED = 4096


class Caller:
    """A virtual key with everything its calls are judged by, prepared once per change.

    `accounts` runs from the key's own account to the root. What models and scopes resolved to is
    remembered; a new Caller takes this one's place when anything changes.
    """

    __slots__ = ("_account_ids", "_matches", "_plans", "accounts", "blocked_by", "candidates", "key")

    def __init__(self, key: VirtualKey, accounts: Sequence[Account], budgets: Sequence[Budget]) -> None:
        self.key = key
        self.accounts = tuple(accounts)
        self.candidates = tuple(budgets)  # those that may apply, going by account and key alone
        self._account_ids = tuple(account.id for account in accounts)
        self._plans: dict[str, tuple[Plan, ...]] = {}
        self._matches: dict[
            tuple[str, str, str | None, tuple[tuple[str, str], ...]], tuple[Scope, tuple[Applicable, ...]]
        ] = {}
        self.blocked_by = self._blocked_by()

    def _blocked_by(self) -> str | None:
        """What stops this key: its own status or an account above it; None when nothing does."""
        if self.key.status != "active":
            return f"key {self.key.hint} is {self.key.status}"
        for account in self.accounts:
            if not account.is_active:
                return f"account {account.path} is {'deleted' if account.deleted_at_us else account.status}"
        return None

    def scope(
        self, provider: str, model: str, end_user: str | None, tags: Mapping[str, str]
    ) -> tuple[Scope, tuple[Applicable, ...]]:
        """The scope of one call of this key, and every budget that applies to it."""
        asked = (provider, model, end_user, tuple(tags.items()) if tags else ())
        known = self._matches.get(asked)
        if known is None:
            scope = Scope(self.key.charged_to, self._account_ids, provider, model, end_user, tags)
            known = (scope, budgets_for(self.candidates, scope))
            _keep(self._matches, asked, known)
        return known

    def sees(self, budget: str) -> bool:
        """Whether a budget's figures are this key's business: it is the key's own, or its account's."""
        return any(
            each.id == budget and (each.key is not None or each.account == self.key.account)
            for each in self.candidates
        )

    def plans(self, model: str) -> tuple[Plan, ...] | None:
        """The route of a model that was resolved before."""
        return self._plans.get(model)

    def remember_plans(self, model: str, plans: tuple[Plan, ...]) -> None:
        """Keep what a model resolved to."""
        _keep(self._plans, model, plans)


def _keep(memory: dict[T, U], key: T, value: U) -> None:
    if len(memory) >= REMEMBERED:
        memory.clear()
    memory[key] = value


class _Changes(NamedTuple):
    """What one look at the database found."""

    numbers: dict[str, int]
    keys: Sequence[VirtualKey]
    budgets: BudgetChanges
    accounts: Sequence[Account]
    catalogue: Catalogue | None


class Directory:
    """The live copy of accounts, keys, budgets and the price catalogue."""

    def __init__(
        self, database: Database, on_budgets: Callable[[Sequence[str]], None], names: NameGate
    ) -> None:
        """`on_budgets` hears the ids of budgets that changed or went: their windows are read afresh."""
        self._database = database
        self._on_budgets = on_budgets
        self._names = names
        self._numbers: dict[str, int] = {}
        self._accounts: dict[str, Account] = {}
        self._budgets: dict[str, Budget] = {}
        self._keys: dict[bytes, VirtualKey] = {}
        self._fingerprints: dict[str, bytes] = {}
        self._callers: dict[bytes, Caller] = {}
        self._budgets_of: dict[str | None, list[Budget]] = {}  # by account
        self._reading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self.catalogue = Catalogue((), ())

    async def refresh(self) -> bool:
        """Read what changed since the last time; True when anything did."""
        # One at a time: an older answer taken in after a newer one would undo it until the next poll.
        async with self._reading:
            changes = await self._database.read(self._read, dict(self._numbers))
            if changes is None:
                return False
            self._apply(changes)
            return True

    def caller(self, fingerprint: bytes) -> Caller | None:
        """The key of this fingerprint as far as this worker knows it."""
        caller = self._callers.get(fingerprint)
        if caller is None:
            key = self._keys.get(fingerprint)
            caller = None if key is None else self._prepare(key)
        return caller

    async def find(self, fingerprint: bytes) -> Caller | None:
        """Like `caller`, but asks the database about a key not heard of (made a moment ago elsewhere)."""
        if await self._database.read(key_by_fingerprint, fingerprint) is None:
            return None
        await self.refresh()
        return self.caller(fingerprint)

    def account(self, account: str) -> Account | None:
        """The account by id, deleted ones too."""
        return self._accounts.get(account)

    def lineage(self, account: str) -> list[str]:
        """The account and those above it, deleted ones too; what is not known ends it."""
        return [each.id for each in self._chain(account)] if account in self._accounts else []

    def budget(self, budget: str) -> Budget | None:
        """The budget by id while it is not deleted."""
        return self._budgets.get(budget)

    @property
    def size(self) -> Mapping[str, int]:
        """How much is known, by topic."""
        return {"accounts": len(self._accounts), "keys": len(self._keys), "budgets": len(self._budgets)}

    def changed(self, topic: str) -> None:
        """This worker's own admin plane changed a topic: read it now instead of at the next poll."""
        task = asyncio.get_running_loop().create_task(self._reread())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reread(self) -> None:
        try:
            await self.refresh()
        except Unavailable:
            pass  # the poll goes on asking

    def _read(self, conn: Connection, known: Mapping[str, int]) -> _Changes | None:
        # The numbers are read before the rows: whoever knows number n has seen every change up to n. Accounts
        # are read last, so that they are never older than the keys that name them.
        latest = numbers(conn)
        if latest == known:
            return None
        is_stale = latest["prices"] != known.get("prices")
        return _Changes(
            latest,
            keys_since(conn, known.get("keys", 0)),
            budgets_since(conn, known.get("budgets", 0)),
            accounts_since(conn, known.get("accounts", 0)),
            load_catalogue(conn) if is_stale else None,
        )

    def _apply(self, changes: _Changes) -> None:
        self._accounts.update((account.id, account) for account in changes.accounts)
        for key in changes.keys:
            self._remember(key)
        if changes.catalogue is not None:
            self.catalogue = changes.catalogue
        self._numbers = changes.numbers
        # Changes are rare and preparing a caller costs microseconds: all are prepared anew.
        self._callers.clear()
        living, deleted = changes.budgets.living, changes.budgets.deleted
        if living or deleted:
            self._take_budgets(living, deleted)

    def _take_budgets(self, living: Iterable[Budget], deleted: Iterable[str]) -> None:
        self._budgets.update((budget.id, budget) for budget in living)
        for gone in deleted:
            self._budgets.pop(gone, None)
        self._budgets_of = {}
        for budget in self._budgets.values():
            self._budgets_of.setdefault(budget.account, []).append(budget)
        # A name that a budget is about never becomes `other`, or its calls would escape the budget.
        self._names.pin(names_in(self._budgets.values()))
        self._on_budgets([*(budget.id for budget in living), *deleted])

    def _remember(self, key: VirtualKey) -> None:
        before = self._fingerprints.get(key.id)
        known = self._keys.get(before) if before is not None else None
        # A rotated key leaves its old text to a row of its own, which may have come first.
        if known is not None and known.id == key.id and before != key.fingerprint:
            del self._keys[known.fingerprint]
            self._callers.pop(known.fingerprint, None)
        self._fingerprints[key.id] = key.fingerprint
        self._keys[key.fingerprint] = key

    def _prepare(self, key: VirtualKey) -> Caller:
        chain = self._chain(key.account)
        candidates = [
            budget
            for account in (*(each.id for each in chain), None)
            for budget in self._budgets_of.get(account, ())
            if budget.key in (None, key.charged_to)
        ]
        caller = self._callers[key.fingerprint] = Caller(key, chain, candidates)
        return caller

    def _chain(self, account: str | None) -> list[Account]:
        chain: list[Account] = []
        while account is not None:
            node = self._accounts[account]
            chain.append(node)
            account = node.parent
        return chain
