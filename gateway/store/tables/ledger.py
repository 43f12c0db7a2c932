"""The book: one immutable row per attempt or correction, and the sums kept in the same transaction.

JSON columns of the ledger hold text that the worker encoded once; SQL never rewrites it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from gateway.store.tables.base import metadata

__all__ = ["end_user_rollups", "ledger", "rollups", "tag_rollups"]

ledger = Table(
    "ledger",
    metadata,
    Column("id", String(40), primary_key=True),  # the attempt's id, or the correction's
    Column("kind", String(12), nullable=False),  # call, correction, adjustment
    Column("attempt", String(40), nullable=False),  # for a correction: the attempt it corrects
    Column("call", String(40), nullable=False),
    Column("journal", String(40), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column(
        "admitted_at", BigInteger, nullable=False
    ),  # decides window, hour and month, whenever the call ended
    Column("closed_at", BigInteger, nullable=False),
    # When it was admitted, where that month was closed before it came: it counts in the next open month then,
    # and `admitted_at` is the start of that.
    Column("late_for", BigInteger, nullable=True),
    Column("account", String(40), nullable=False),
    Column("key", String(40), nullable=False),
    Column("end_user", Text, nullable=True),
    Column("tags", Text, nullable=False),
    Column("provider", String(64), nullable=False),
    Column("upstream", String(64), nullable=False),
    Column("model", String(255), nullable=False),  # catalogue name, as requested after aliases
    Column("served_model", String(255), nullable=True),  # as the provider named it
    Column("service_tier", String(32), nullable=True),  # as served, else as asked; NULL: the standard one
    Column("format", String(32), nullable=False),
    Column("streamed", Boolean, nullable=False),
    Column("status", Integer, nullable=True),  # of the upstream's answer; NULL when none came
    Column("outcome", String(16), nullable=False),  # done, void, aborted, interrupted
    Column("usage", Text, nullable=False),  # {"input": 19, ...}
    Column("usage_source", String(12), nullable=False),  # provider, counted, mixed, none
    Column("raw_usage", LargeBinary, nullable=True),  # the provider's object, verbatim
    Column(
        "lines", Text, nullable=False
    ),  # [[meter, quantity, price id, price_pico, cost_nano, list_nano], ...]
    Column("flags", Text, nullable=False),  # ["estimated", "overrun", ...]
    Column("hold", BigInteger, nullable=False),  # nano-USD of the quote that was reserved
    Column("charge", BigInteger, nullable=False),  # nano-USD: the sum of the lines' costs
    Column("list_charge", BigInteger, nullable=False),  # nano-USD at list price
    Column("overrun", BigInteger, nullable=False),
    Column("windows", Text, nullable=False),  # [[win, amount, hold], ...] in each budget's own unit
    Column("reason", Text, nullable=True),  # of a correction
    Index("ix_ledger_call", "call"),
    Index("ix_ledger_admitted_at", "admitted_at"),
    Index("ix_ledger_key_admitted_at", "key", "admitted_at"),
    Index("ix_ledger_account_admitted_at", "account", "admitted_at"),
)

# Sums by quarter of an hour: every time zone's day is a whole number of them. A call counts one
# `requests`; the other meters carry tokens or uses. `calls` of a report is the sum of `requests`.
rollups = Table(
    "rollups",
    metadata,
    Column("slot", BigInteger, primary_key=True),  # start of the quarter hour, microseconds
    Column("account", String(40), primary_key=True),
    Column("key", String(40), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("meter", String(32), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("list_cost", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

end_user_rollups = Table(
    "end_user_rollups",
    metadata,
    Column("slot", BigInteger, primary_key=True),
    Column("account", String(40), primary_key=True),
    Column("key", String(40), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("end_user", String(255), primary_key=True),
    Column("meter", String(32), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("list_cost", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

tag_rollups = Table(
    "tag_rollups",
    metadata,
    Column("slot", BigInteger, primary_key=True),
    Column("account", String(40), primary_key=True),
    Column("key", String(40), primary_key=True),
    Column("provider", String(64), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("tag", String(64), primary_key=True),
    Column("value", String(255), primary_key=True),
    Column("meter", String(32), primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("list_cost", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
