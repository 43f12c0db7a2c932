"""`tollgate prices`: what models cost, where that is from, and which price a call pays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson, account_id, file_text, given, instant
from gateway.cli.client import FOUND_A_PROBLEM, USAGE, CommandFailed
from gateway.cli.session import session_of
from gateway.cli.tables import moment, show_fields, show_table

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Prices: dated, never overwritten.")

_FIGURES: Final = ("USD/M", "OVER", "OVERRULED USD/M")


@COMMANDS.command("import")
def import_prices(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="JSON or CSV; default: the installed list.")] = None,
    as_json: AsJson = False,
) -> None:
    """Import the price list installed with the gateway, or a file. What is there already stays."""
    session = session_of(context)
    client = session.client()
    body = {} if file is None else {"file": file_text(file), "name": file.name}
    with session.working("Importing prices ..."):
        result = client.post("/admin/prices/import", body)
    if as_json:
        session.show_json(result)
    else:
        session.say(f"Added {result['added']} prices; {result['unchanged']} were there already.")
        for line in result["conflicts"]:
            session.show_text(line)
    if result["conflicts"]:
        raise typer.Exit(FOUND_A_PROBLEM)


@COMMANDS.command()
def diff(context: typer.Context, as_json: AsJson = False) -> None:
    """List where sources disagree on a price in force; exit status 1 when they do."""
    session = session_of(context)
    found = session.client().get("/admin/prices/differences")["data"]
    if as_json:
        session.show_json(found)
    else:
        columns = ("MODEL", "METER", "TIER", "OVER", "USD/M", "SOURCE", "OVERRULED USD/M", "ITS SOURCE")
        rows = [_difference(each["counts"], other) for each in found for other in each["overruled"]]
        show_table(session.data, columns, rows, right=_FIGURES)
    if found:
        raise typer.Exit(FOUND_A_PROBLEM)


@COMMANDS.command("list")
def list_prices(
    context: typer.Context,
    provider: Annotated[str | None, typer.Option(help="Only this provider's.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this model's, as the catalogue has it.")] = None,
    meter: Annotated[str | None, typer.Option(help="Only this meter's.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account's own prices.")] = None,
    as_json: AsJson = False,
) -> None:
    """List prices, with where they are from."""
    session = session_of(context)
    client = session.client()
    only = None if account is None else account_id(client, account)
    found = list(client.items("/admin/prices", provider=provider, model=model, meter=meter, account=only))
    if as_json:
        session.show_json(found)
        return
    columns = ("MODEL", "METER", "TIER", "OVER", "USD/M", "FROM", "UNTIL", "ACCOUNT", "SOURCE", "ID")
    show_table(session.data, columns, [_row(each) for each in found], right=_FIGURES)


@COMMANDS.command("set")
def set_price(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="provider/model.")],
    meter: Annotated[str, typer.Argument(help="input, output, cache_read, reasoning ...")],
    usd_per_million: Annotated[str, typer.Argument(help="USD per million units, such as 8.00.")],
    since: Annotated[
        str | None, typer.Option("--from", help="When it begins: a date or a time; default: now.")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only for this account and those below it.")] = None,
    tier: Annotated[str | None, typer.Option(help="A service tier; default: standard.")] = None,
    over: Annotated[int | None, typer.Option(help="Only for calls with more input tokens than this.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the figure is from.")] = None,
    as_json: AsJson = False,
) -> None:
    """Post a price. One that is there already is not posted again."""
    session = session_of(context)
    client = session.client()
    provider, slash, name = model.partition("/")
    if not slash:
        raise CommandFailed(f"{model!r} does not say whose it is.", "Write provider/model.", USAGE)
    body = given(
        provider=provider,
        model=name,
        meter=meter,
        usd_per_million=usd_per_million,
        effective_from=instant(since),
        account=None if account is None else account_id(client, account),
        service_tier=tier,
        context_over=over,
        source=source,
    )
    made = client.post("/admin/prices", body)
    if as_json:
        session.show_json(made)
    else:
        name = f"{made['provider']}/{made['model']}"
        session.say(f"{name} {made['meter']} costs {made['usd_per_million']} USD per million.")
        session.show_text(made["id"])


@COMMANDS.command()
def explain(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="provider/model, or a bare name.")],
    at: Annotated[str | None, typer.Option(help="A date or a time; default: now.")] = None,
    account: Annotated[str | None, typer.Option(help="For this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a name means and which prices a call of it pays, and why."""
    session = session_of(context)
    client = session.client()
    only = None if account is None else account_id(client, account)
    found = client.get("/admin/prices/explanation", model=model, at=instant(at), account=only)
    if as_json:
        session.show_json(found)
        return
    fields = [
        ("name", found["name"]),
        ("model", f"{found['provider']}/{found['model']}  ({found['how']})"),
        ("context", _tokens(found["context_window"])),
        ("max output", _tokens(found["max_output"])),
        ("at", moment(found["at"])),
    ]
    show_fields(session.data, fields)
    session.data.print()
    columns = ("METER", "TIER", "OVER", "USD/M", "FROM", "SOURCE", "WHY")
    show_table(session.data, columns, [_rate(each) for each in found["rates"]], right=_FIGURES)


def _row(price: Any) -> list[str]:
    return [
        f"{price['provider']}/{price['model']}",
        price["meter"],
        price["service_tier"],
        _over(price),
        price["usd_per_million"],
        moment(price["effective_from"]),
        moment(price["effective_to"]),
        price["account"] or "",
        price["source"],
        price["id"],
    ]


def _difference(counts: Any, other: Any) -> list[str]:
    return [
        f"{counts['provider']}/{counts['model']}",
        counts["meter"],
        counts["service_tier"],
        _over(counts),
        counts["usd_per_million"],
        counts["source"],
        other["usd_per_million"],
        other["source"],
    ]


def _rate(rate: Any) -> list[str]:
    price = rate["price"]
    return [
        rate["meter"],
        rate["service_tier"],
        _over(rate),
        price["usd_per_million"],
        moment(price["effective_from"]),
        price["source"],
        rate["why"],
    ]


def _over(price: Any) -> str:
    return f"{price['context_over']:,}" if price["context_over"] else ""


def _tokens(count: int | None) -> str:
    return "" if count is None else f"{count:,} tokens"
