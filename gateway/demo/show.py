"""How the demo looks: tables and panels from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gateway.demo.broken_line import BrokenAnswer
from gateway.demo.streams import Stream

__all__ = [
    "alerts",
    "balance",
    "broken_answer",
    "headers",
    "receipt",
    "refusal",
    "spend",
    "streams_table",
    "usd",
]

STATE_STYLES = {"refused": "bold red", "done": "green", "streaming": "cyan", "admitted": "dim"}


def usd(amount: Decimal | str) -> str:
    """Dollars with as many places as there are, six at least."""
    text = f"{Decimal(amount):f}"
    whole, _, fraction = text.partition(".")
    return f"${whole}.{fraction.ljust(6, '0')}"


def streams_table(streams: Sequence[Stream], budget: Decimal, spent_before: Decimal) -> RenderableType:
    """Every call in flight, and the budget filling up."""
    table = Table(box=SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("model", style="bold", no_wrap=True)
    table.add_column("answer", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("tokens", justify="right")
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for stream in streams:
        state = Text(stream.state, STATE_STYLES[stream.state])
        answer = stream.error.get("message", "") if stream.error else stream.text[-70:].replace("\n", " ")
        style = "red" if stream.error else ""
        table.add_row(
            stream.ask.model, Text(answer, style), str(stream.tokens), usd(stream.cost_so_far), state
        )
    spent = spent_before + sum((stream.cost_so_far for stream in streams), Decimal(0))
    return Group(table, balance(spent, budget))


def broken_answer(answer: BrokenAnswer) -> RenderableType:
    """An answer, each connection's part of it in a colour of its own."""
    styles = ("cyan", "green", "yellow", "magenta")
    parts = [(part, styles[at % len(styles)]) for at, part in enumerate(answer.parts)]
    connections = f"connection {len(answer.parts)}, frame {answer.seq}"
    if answer.cost is not None:
        state = Text(f"{connections}: whole", "bold green")
    elif answer.is_cut:
        state = Text(f"{connections}: the line is cut, the answer goes on without it", "bold red")
    else:
        state = Text(f"{connections}: streaming", "cyan")
    return Panel(Group(Text.assemble(*parts), "", state), title=answer.call, title_align="left", box=ROUNDED)


def balance(spent: Decimal, budget: Decimal) -> RenderableType:
    """The budget as a bar."""
    bar = ProgressBar(total=float(budget), completed=float(min(spent, budget)), width=40)
    row = Table.grid(padding=(0, 1))
    row.add_row("budget", bar, f"{usd(spent)} of {usd(budget)}")
    return row


def refusal(status: int, error: dict[str, Any]) -> RenderableType:
    """A refusal as the caller gets it: what, why, until when, what to do."""
    ours = error["tollgate"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    for name in ("code", "budget", "cap", "spent", "held", "resets_at", "hint"):
        if ours.get(name) not in (None, ""):
            grid.add_row(name, str(ours[name]))
    title = f"[bold red]HTTP {status}[/] {error['type']}"
    return Panel(Group(Text(error["message"]), "", grid), title=title, title_align="left", box=ROUNDED)


def receipt(body: dict[str, Any]) -> RenderableType:
    """One call's receipt: each charge line with the price it was made of."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column, side in (
        ("meter", "left"),
        ("quantity", "right"),
        ("USD per million", "right"),
        ("cost", "right"),
    ):
        table.add_column(column, justify="right" if side == "right" else "left")
    table.add_column("price row", style="dim")
    for line in body["lines"]:
        cost = usd(line["cost_usd"])
        table.add_row(line["meter"], str(line["quantity"]), line["usd_per_million"], cost, line["price_id"])
    facts = f"{body['model']} served as {body['served_model']}; usage by the {body['usage_source']}"
    total = f"charged {usd(body['cost_usd'])}; held before the call {usd(body['hold_usd'])}"
    return Panel(Group(facts, table, total), title=f"receipt {body['id']}", title_align="left", box=ROUNDED)


def alerts(messages: Sequence[tuple[dict[str, Any], bool]]) -> RenderableType:
    """What a target of alerts heard, and whether its signature was verified."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("event", style="bold", no_wrap=True)
    table.add_column("", justify="right")
    table.add_column("spent", justify="right")
    table.add_column("held", justify="right")
    table.add_column("signature")
    for message, is_genuine in messages:
        data = message["data"]
        threshold = f"{data['threshold']} %" if "threshold" in data else ""
        verdict = Text("verified", "green") if is_genuine else Text("wrong", "bold red")
        table.add_row(message["type"], threshold, usd(data["spent"]), usd(data["held"]), verdict)
    return table


def headers(given: Mapping[str, str], names: Sequence[str]) -> RenderableType:
    """Some headers of a request."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    for name in names:
        grid.add_row(name, given[name])
    return grid


def spend(report: dict[str, Any]) -> RenderableType:
    """The spend report as finance reads it."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    total = report["total"]
    table.add_column("account", footer="total")
    table.add_column("model", footer="")
    table.add_column("calls", justify="right", footer=str(total["calls"]))
    table.add_column("cost", justify="right", footer=usd(total["cost"]))
    for row in report["rows"]:
        table.add_row(row["account"], row["model"], str(row["calls"]), usd(row["cost"]))
    return table
