"""`tollgate rerate`: book what calls would have cost by the prices there are now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any

import typer

from gateway.cli.arguments import AsJson, account_id, given, instant
from gateway.cli.client import Client
from gateway.cli.session import session_of
from gateway.cli.tables import show_table

__all__ = ["rerate"]

_FIGURES = ("CALLS", "BEFORE", "AFTER", "CHANGE")


def rerate(
    context: typer.Context,
    start: Annotated[str, typer.Option(help="The first instant: a date or a time.")],
    end: Annotated[str, typer.Option(help="The first instant after it: a date or a time.")],
    model: Annotated[str | None, typer.Option(help="Only calls of this model: provider/model.")] = None,
    account: Annotated[str | None, typer.Option(help="Only this account and those below it.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is written into each entry.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change only.")] = False,
    as_json: AsJson = False,
) -> None:
    """Book what calls would have cost by the prices there are now. What is booked stays; the difference is
    added, once however often it is run."""
    session = session_of(context)
    client = session.client()
    body = given(
        start=instant(start),
        end=instant(end),
        model=model,
        account=None if account is None else account_id(client, account),
        reason=reason,
        dry_run=dry_run,
    )
    with session.progress("Looking at calls ...") as seen:
        totals, changed = _run(client, body, seen)
    data = [
        {"account": key[0], "model": key[1], **{name: str(figure) for name, figure in total.items()}}
        for key, total in sorted(totals.items())
    ]
    if as_json:
        session.show_json({"dry_run": dry_run, "changed": changed, "data": data})
        return
    names = ("account", "model", "calls", "before", "after", "change")
    rows = [[each[name] for name in names] for each in data]
    show_table(session.data, ("ACCOUNT", "MODEL", *_FIGURES), rows, right=_FIGURES)
    session.say(f"{changed} calls {'would be' if dry_run else 'were'} adjusted.")


def _run(
    client: Client, body: Mapping[str, Any], seen: Callable[[str], None]
) -> tuple[dict[tuple[str, str], dict[str, Decimal]], int]:
    """Piece by piece to the end: what changed by account and model, and how many calls that are."""
    totals: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(
        lambda: dict.fromkeys(("calls", "before", "after", "change"), Decimal(0))
    )
    changed = looked_at = 0
    after: str | None = None
    while True:
        answer = client.post("/admin/rerate", {**body, **given(after=after)})
        for group in answer["data"]:
            total = totals[group["account"], group["model"]]
            for name in total:
                total[name] += Decimal(group[name])
        changed += answer["changed"]
        looked_at += answer["looked_at"]
        seen(f"{looked_at:,} calls, {changed:,} to adjust")
        after = answer["next"]
        if not answer["has_more"]:
            return totals, changed
