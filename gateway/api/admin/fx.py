"""Exchange rates: post, import, list. No rate is ever changed: last month's report stays what it was."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.domain.errors import Conflict
from gateway.domain.exchange import Rate, format_rate
from gateway.store.fx import add_rates, describe, list_rates, read_rates, stated_rate

__all__ = ["OPERATIONS"]

FILE_MAX_CHARACTERS = 4 * 1024 * 1024

_Source = Annotated[str, Meta(min_length=1, max_length=255, description="Where the rate is from.")]


class PostedRate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A rate: what one USD is in the currency from that day on, until the next day that has one."""

    currency: Annotated[str, Meta(max_length=16, description="ISO 4217, such as EUR.")]
    date: Annotated[str, Meta(max_length=40, description="ISO 8601, such as 2026-11-01.")]
    rate: Annotated[str, Meta(max_length=64, description="Units of the currency for one USD.")]
    source: _Source = "manual"


class ImportRates(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A CSV file with the columns `date`, `currency` and `rate`."""

    file: Annotated[str, Meta(max_length=FILE_MAX_CHARACTERS, description="The text of the file.")]
    name: _Source = "upload"


class RateAnswer(msgspec.Struct, kw_only=True):
    """One rate of one day."""

    id: str
    currency: str
    date: str
    rate: str
    source: str


class ImportAnswer(msgspec.Struct, kw_only=True):
    """What an import did. `conflicts` says, a line each, which days kept the rate they had."""

    added: int
    unchanged: int
    conflicts: list[str]
    first: str | None
    last: str | None


class RateQuery(PageQuery, kw_only=True):
    """Which rates."""

    currency: Annotated[str, Meta(max_length=16, description="Only of this currency.")] | None = None


def _shown(rate: Rate) -> RateAnswer:
    return RateAnswer(
        id=f"{rate.day}:{rate.currency}",
        currency=rate.currency,
        date=rate.day,
        rate=format_rate(rate.rate_nano),
        source=rate.source,
    )


def _create(conn: Connection, call: Call[PostedRate, None]) -> Done:
    body = call.body
    rate = stated_rate(body.currency, body.date, body.rate, body.source)
    done = add_rates(conn, [rate], call.now_us)
    if done.conflicts:
        raise Conflict(
            "conflict",
            f"{describe(*done.conflicts[0])}.",
            hint="A rate is never overwritten: reports that were read with it would change.",
            param="date",
        )
    answer = _shown(rate)
    if not done.added:
        return Done(answer, status=200)
    return Done(answer, Change("fx.create", answer.id, None, answer))


def _import(conn: Connection, call: Call[ImportRates, None]) -> Done:
    rates = read_rates(call.body.file, call.body.name)
    done = add_rates(conn, rates, call.now_us)
    days = [rate.day for rate in rates]
    answer = ImportAnswer(
        added=done.added,
        unchanged=done.unchanged,
        conflicts=[describe(*each) for each in done.conflicts],
        first=min(days, default=None),
        last=max(days, default=None),
    )
    return Done(answer, Change("fx.import", call.body.name[:64], None, answer))


def _list(conn: Connection, call: Call[None, RateQuery]) -> Done:
    query = call.query
    rows = list_rates(conn, currency=query.currency, before=query.after, limit=query.limit + 1)
    return page_of(rows, query.limit, _shown)


OPERATIONS = (
    Operation(
        name="fx.create",
        method="POST",
        path="/admin/fx",
        summary="Post an exchange rate; an identical one that is there already answers 200",
        run=_create,
        body=PostedRate,
        answer=RateAnswer,
        status=201,
        also=(200,),
        problems=(409,),
    ),
    Operation(
        name="fx.list",
        method="GET",
        path="/admin/fx",
        summary="List exchange rates, the latest first",
        run=_list,
        query=RateQuery,
        answer=Page[RateAnswer],
    ),
    Operation(
        name="fx.import",
        method="POST",
        path="/admin/fx/import",
        summary="Import exchange rates from a CSV file; nothing is ever overwritten",
        run=_import,
        body=ImportRates,
        answer=ImportAnswer,
    ),
)
