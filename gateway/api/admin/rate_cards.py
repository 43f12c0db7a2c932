"""Rate cards: discounts, markups and flat prices that accounts negotiated; added, listed and ended."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.values import Id, Instant, instant, known_instant, microseconds
from gateway.domain.errors import BadRequest
from gateway.domain.money import format_price, parse_price
from gateway.domain.patterns import check_patterns
from gateway.domain.terms import MOST_PPM, PER_PERCENT, Kind, Term
from gateway.domain.usage import METERS
from gateway.store.rate_cards import add_term, end_term, list_terms, term_by_id

__all__ = ["OPERATIONS"]

_PERCENT: Final = re.compile(r"\d{1,5}(\.\d{1,4})?", re.ASCII)


class PostedTerm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What an account negotiated: exactly one of a discount, a markup (percent of list) or a flat price."""

    account: Id
    provider: Annotated[str, Meta(max_length=64)] | None = None
    model: Annotated[str, Meta(max_length=255, description="A pattern, such as gpt-4.1*.")] | None = None
    meter: Annotated[str, Meta(max_length=32)] | None = None
    discount_percent: Annotated[str, Meta(max_length=16)] | None = None
    markup_percent: Annotated[str, Meta(max_length=16)] | None = None
    usd_per_million: Annotated[str, Meta(max_length=64)] | None = None
    effective_from: Annotated[Instant, Meta(description="Now if absent.")] | None = None
    effective_to: Annotated[Instant, Meta(description="Exclusive; never if absent.")] | None = None


class TermAnswer(msgspec.Struct, kw_only=True):
    """One term. A null `provider`, `model` or `meter` is any."""

    id: str
    account: str
    provider: str | None
    model: str | None
    meter: str | None
    discount_percent: str | None
    markup_percent: str | None
    usd_per_million: str | None
    effective_from: datetime
    effective_to: datetime | None
    created_at: datetime


class TermQuery(PageQuery, kw_only=True):
    """Which terms."""

    account: Annotated[str, Meta(max_length=40, description="Only this account's own.")] | None = None


def _create(conn: Connection, call: Call[PostedTerm, None]) -> Done:
    body = call.body
    kind, amount, text = _negotiated(body)
    if body.model is not None:
        check_patterns([body.model], param="model")
    if body.meter is not None and body.meter not in METERS:
        raise _refused("meter", f"{body.meter!a} is no meter", f"The meters are {', '.join(METERS)}.")
    start_us = _microseconds(body.effective_from, "effective_from")
    end_us = _microseconds(body.effective_to, "effective_to")
    start_us = call.now_us if start_us is None else start_us
    if end_us is not None and end_us <= start_us:
        raise _refused("effective_to", "effective_to is not after effective_from", "The end is exclusive.")
    term = Term(
        call.new_id("card"), body.account, body.provider, body.model, body.meter, kind, amount, text,
        start_us, end_us, call.now_us,
    )  # fmt: skip
    answer = _shown(add_term(conn, term))
    return Done(answer, Change("rate_card.create", term.id, None, answer))


def _negotiated(body: PostedTerm) -> tuple[Kind, int, str]:
    """Kind, amount, and the term in words."""
    given = [name for name in _AMOUNTS if getattr(body, name) is not None]
    if len(given) != 1:
        raise _refused(
            given[1] if given else "discount_percent",
            f"{len(given)} of {', '.join(_AMOUNTS)} are given",
            "Give exactly one of them.",
        )
    if body.usd_per_million is not None:
        if body.meter is None:
            raise _refused("meter", "A flat price is one of a meter", "Say which meter.")
        return "flat", parse_price(body.usd_per_million), "flat price"
    if body.discount_percent is not None:
        ppm = _ppm(body.discount_percent, "discount_percent", 100 * PER_PERCENT)
        return "discount", ppm, f"{body.discount_percent} % discount"
    assert body.markup_percent is not None, "one of three is given"
    return "markup", _ppm(body.markup_percent, "markup_percent", MOST_PPM), f"{body.markup_percent} % markup"


_AMOUNTS: Final = ("discount_percent", "markup_percent", "usd_per_million")


def _ppm(text: str, param: str, most: int) -> int:
    """Parts per million of a percentage with at most four decimals."""
    whole, _, fraction = text.partition(".")
    ppm = int(whole) * PER_PERCENT + int(fraction.ljust(4, "0")) if _PERCENT.fullmatch(text) else -1
    if not 0 <= ppm <= most:
        raise _refused(
            param, f"{text!a} is no percentage here", f"Give 0 to {most // PER_PERCENT}, such as 12.5."
        )
    return ppm


def _microseconds(at: datetime | None, param: str) -> int | None:
    return None if at is None else microseconds(at, param=param)


def _refused(param: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{problem}.", hint=hint, param=param)


def _list(conn: Connection, call: Call[None, TermQuery]) -> Done:
    query = call.query
    rows = list_terms(conn, account=query.account, after=query.after, limit=query.limit + 1)
    return page_of(rows, query.limit, _shown)


def _get(conn: Connection, call: Call[None, None]) -> Done:
    return Done(_shown(term_by_id(conn, call.path["id"])))


def _end(conn: Connection, call: Call[None, None]) -> Done:
    before, after = end_term(conn, call.path["id"], call.now_us)
    answer = _shown(after)
    return Done(answer, Change("rate_card.end", after.id, _shown(before), answer))


def _shown(term: Term) -> TermAnswer:
    percent = format_price(term.amount * 100)
    return TermAnswer(
        id=term.id,
        account=term.account,
        provider=term.provider,
        model=term.model,
        meter=term.meter,
        discount_percent=percent if term.kind == "discount" else None,
        markup_percent=percent if term.kind == "markup" else None,
        usd_per_million=format_price(term.amount) if term.kind == "flat" else None,
        effective_from=known_instant(term.effective_from_us),
        effective_to=instant(term.effective_to_us),
        created_at=known_instant(term.recorded_at_us),
    )


OPERATIONS = (
    Operation(
        name="rate_cards.create",
        method="POST",
        path="/admin/rate-cards",
        summary="Add what an account negotiated; calls from its date on are charged by it",
        run=_create,
        body=PostedTerm,
        answer=TermAnswer,
        status=201,
        topics=("prices",),
        problems=(404,),
    ),
    Operation(
        name="rate_cards.list",
        method="GET",
        path="/admin/rate-cards",
        summary="List rate cards, oldest first",
        run=_list,
        query=TermQuery,
        answer=Page[TermAnswer],
    ),
    Operation(
        name="rate_cards.get",
        method="GET",
        path="/admin/rate-cards/{id}",
        summary="Read a rate card",
        run=_get,
        answer=TermAnswer,
        problems=(404,),
    ),
    Operation(
        name="rate_cards.end",
        method="DELETE",
        path="/admin/rate-cards/{id}",
        summary="End a rate card now; what was charged by it stays",
        run=_end,
        answer=TermAnswer,
        topics=("prices",),
        problems=(404, 409),
    ),
)
