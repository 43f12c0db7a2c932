"""Prices: post, import, list, read, explain, and where sources disagree. No price is ever changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta
from sqlalchemy import Connection

from gateway.api.admin.operations import Call, Change, Done, Operation, Page, PageQuery, page_of
from gateway.api.admin.price_bodies import (
    DifferenceAnswer,
    ExplanationAnswer,
    ExplanationQuery,
    ImportAnswer,
    ImportPrices,
    PriceAnswer,
    RateAnswer,
    shown_price,
)
from gateway.api.admin.values import known_instant, microseconds
from gateway.domain.catalogue import Catalogue
from gateway.domain.errors import NotFound
from gateway.domain.explanations import ExplainedRate
from gateway.store.accounts import account_chain
from gateway.store.price_files import PostedPrice, posted_row, read_price_file
from gateway.store.prices import (
    add_price,
    differences,
    import_rows,
    import_shipped,
    list_prices,
    load_catalogue,
    price_by_id,
)

__all__ = ["OPERATIONS"]


class PriceQuery(PageQuery, kw_only=True):
    """Which prices."""

    provider: Annotated[str, Meta(max_length=64)] | None = None
    model: Annotated[str, Meta(max_length=255, description="As the catalogue has it.")] | None = None
    meter: Annotated[str, Meta(max_length=32)] | None = None
    account: Annotated[str, Meta(max_length=40, description="Only this account's own prices.")] | None = None


def _create(conn: Connection, call: Call[PostedPrice, None]) -> Done:
    row, is_new = add_price(conn, posted_row(call.body, call.now_us), call.now_us)
    answer = shown_price(row)
    if not is_new:
        return Done(answer, status=200)
    return Done(answer, Change("price.create", row.id, None, answer))


def _import(conn: Connection, call: Call[ImportPrices, None]) -> Done:
    body = call.body
    if body.file is None:
        result, name = import_shipped(conn, call.now_us), "installed"
    else:
        rows = read_price_file(body.file.encode("utf-8", "replace"), call.now_us, name=body.name)
        result, name = import_rows(conn, rows, call.now_us), body.name
    answer = ImportAnswer(added=result.added, unchanged=result.unchanged, conflicts=list(result.conflicts))
    return Done(answer, Change("price.import", name[:64], None, answer))


def _list(conn: Connection, call: Call[None, PriceQuery]) -> Done:
    query = call.query
    wanted = {
        "provider": query.provider,
        "model": query.model,
        "meter": query.meter,
        "account": query.account,
    }
    equal = {name: value for name, value in wanted.items() if value is not None}
    rows = list_prices(conn, equal=equal, after=query.after, limit=query.limit + 1)
    return page_of(rows, query.limit, shown_price)


def _get(conn: Connection, call: Call[None, None]) -> Done:
    row = price_by_id(conn, call.path["id"])
    if row is None:
        raise NotFound(
            "not_found",
            f"There is no price {call.path['id']}.",
            hint="GET /admin/prices lists the prices there are.",
        )
    return Done(shown_price(row))


def _differences(conn: Connection, call: Call[None, None]) -> Done:
    data = [
        DifferenceAnswer(
            counts=shown_price(each.counts), overruled=[shown_price(row) for row in each.overruled]
        )
        for each in differences(conn, call.now_us)
    ]
    return Done(Page(object="list", data=data, has_more=False, next=None))


def _explain(conn: Connection, call: Call[None, ExplanationQuery]) -> Done:
    query = call.query
    at_us = call.now_us if query.at is None else microseconds(query.at, param="at")
    accounts = () if query.account is None else account_chain(conn, query.account)
    catalogue = load_catalogue(conn, call.deps.aliases)
    provider, name = _meaning(catalogue, query.model, call.deps.providers)
    found = catalogue.explain(provider, name, at_us, accounts)
    if found is None:
        raise _unknown(query.model)
    limits = found.entry.limits_at(at_us)
    return Done(
        ExplanationAnswer(
            name=query.model,
            provider=found.entry.provider,
            model=found.entry.model,
            list_provider=found.entry.card.provider,
            how=found.how,
            at=known_instant(at_us),
            context_window=found.entry.context_window(at_us),
            max_output=None if limits is None else limits.max_output,
            rates=[_shown_rate(rate) for rate in found.rates],
        )
    )


def _meaning(catalogue: Catalogue, name: str, providers: Sequence[str]) -> tuple[str, str]:
    """The provider and model that a name is taken for: as named, by alias, or at the first that prices it."""
    provider, slash, model = name.partition("/")
    if slash and catalogue.resolve(provider, model) is not None:
        return provider, model
    alias = catalogue.alias_of(name)
    if alias is not None:
        return alias
    first = next(iter(catalogue.providers_of(name, providers) or catalogue.providers_of(name)), None)
    if first is None:
        raise _unknown(name)
    return first, name


def _unknown(name: str) -> NotFound:
    return NotFound(
        "model_not_found",
        f"Nobody prices {name[:100]!a}.",
        hint="POST /admin/prices makes a model known.",
        param="model",
    )


def _shown_rate(rate: ExplainedRate) -> RateAnswer:
    return RateAnswer(
        meter=rate.meter,
        service_tier=rate.service_tier,
        context_over=rate.context_over,
        price=shown_price(rate.row),
        why=rate.why,
        overruled=[shown_price(row) for row in rate.overruled],
    )


OPERATIONS = (
    Operation(
        name="prices.create",
        method="POST",
        path="/admin/prices",
        summary="Post a price; an identical one that is there already answers 200",
        run=_create,
        body=PostedPrice,
        answer=PriceAnswer,
        status=201,
        also=(200,),
        topics=("prices",),
        problems=(404, 409),
    ),
    Operation(
        name="prices.list",
        method="GET",
        path="/admin/prices",
        summary="List prices, oldest first",
        run=_list,
        query=PriceQuery,
        answer=Page[PriceAnswer],
    ),
    Operation(
        name="prices.import",
        method="POST",
        path="/admin/prices/import",
        summary="Import the installed price list or a file; nothing is ever overwritten",
        run=_import,
        body=ImportPrices,
        may_be_empty=True,
        answer=ImportAnswer,
        topics=("prices",),
        problems=(404,),
    ),
    Operation(
        name="prices.differences",
        method="GET",
        path="/admin/prices/differences",
        summary="List where sources disagree on a price in force",
        run=_differences,
        answer=Page[DifferenceAnswer],
    ),
    Operation(
        name="prices.explain",
        method="GET",
        path="/admin/prices/explanation",
        summary="Explain what a model's name means and which prices a call of it pays",
        run=_explain,
        query=ExplanationQuery,
        answer=ExplanationAnswer,
        problems=(404,),
    ),
    Operation(
        name="prices.get",
        method="GET",
        path="/admin/prices/{id}",
        summary="Read a price",
        run=_get,
        answer=PriceAnswer,
        problems=(404,),
    ),
)
