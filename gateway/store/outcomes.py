"""What became of a transaction: committed, certainly not, or unknown.

DatabaseFailed      nothing happened: an error before COMMIT was sent, or COMMIT itself refused
├── DatabaseAway    ... because the database cannot be reached or was busy: the same may succeed later
└── DatabaseRefused ... because of what was asked: the same will fail again
DatabaseUnknown     the connection broke while COMMIT was under way: it may have happened, or still happen

A transaction that raises something of its own (a serial that moved, a domain error) is rolled back and
the exception travels as it is: nothing happened either.
"""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError

__all__ = ["DatabaseAway", "DatabaseFailed", "DatabaseRefused", "DatabaseUnknown", "of_body", "of_commit"]

# PostgreSQL rolls the transaction back when it answers COMMIT with one of these: serialization failure,
# deadlock, and any violated (deferred) constraint.
_ROLLED_BACK = ("40", "23")


class DatabaseFailed(Exception):
    """Nothing happened. `cause` is the driver's own error."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause).partition("\n")[0])
        self.cause = cause


class DatabaseAway(DatabaseFailed):
    """Nothing happened, and the same transaction may succeed later."""


class DatabaseRefused(DatabaseFailed):
    """Nothing happened, and the same transaction would be refused again."""


class DatabaseUnknown(Exception):
    """COMMIT was sent and its answer not heard."""


def of_body(error: DBAPIError) -> DatabaseFailed:
    """The outcome when a statement before COMMIT failed."""
    if isinstance(error, (IntegrityError, DataError, ProgrammingError, NotSupportedError)):
        return DatabaseRefused(error)
    return DatabaseAway(error)


def of_commit(error: BaseException, is_open: bool) -> DatabaseFailed | DatabaseUnknown:
    """The outcome when COMMIT failed; `is_open` says that the transaction is still open (SQLite, busy)."""
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    if is_open or (state is not None and state.startswith(_ROLLED_BACK)):
        return DatabaseAway(error)
    return DatabaseUnknown(str(error).partition("\n")[0])
