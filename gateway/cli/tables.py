"""Tables on a terminal and in a pipe: the same columns, coloured and fitted only where somebody looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["bar", "moment", "show_fields", "show_table", "status"]

_STYLES: Final = {
    "active": "green",
    "blocked": "yellow",
    "revoked": "dim red",
    "deleted": "dim",
    "stranded": "red",
    "soft": "dim",
}
_BAR_WIDTH: Final = 16


def show_table(
    console: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    right: Sequence[str] = (),
) -> None:
    """One line a row; the columns in `right` hold figures and are set to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        is_figure = column in right
        table.add_column(column, justify="right" if is_figure else "left", no_wrap=is_figure, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _print(console, table)


def show_fields(console: Console, fields: Sequence[tuple[str, str | Text]]) -> None:
    """A thing's fields, one a line; empty ones are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if str(value):
            table.add_row(name, value)
    _print(console, table)


def status(word: str) -> Text:
    """A status in its colour."""
    return Text(word, style=_STYLES.get(word, ""))


def bar(spent: float, held: float, cap: float) -> Text:
    """How much of a cap is spent and held."""
    if cap <= 0:
        return Text("")
    solid = min(_BAR_WIDTH, round(_BAR_WIDTH * spent / cap))
    light = min(_BAR_WIDTH - solid, round(_BAR_WIDTH * held / cap))
    colour = "red" if spent >= cap else "yellow" if spent >= 0.8 * cap else "green"
    return Text.assemble(
        ("█" * solid, colour),
        ("▒" * light, colour),
        ("░" * (_BAR_WIDTH - solid - light), "dim"),
        f" {min(999, round(100 * spent / cap)):>3}%",
    )


def moment(instant: str | None) -> str:
    """An instant to the minute, in UTC."""
    return "" if instant is None else instant[:16].replace("T", " ")


def _print(console: Console, table: Table) -> None:
    if not console.is_terminal:
        # A pipe has no width to fit: every cell is written whole, on one line.
        width = console.measure(table, options=console.options.update(width=100_000)).maximum
        console = Console(file=console.file, width=max(1, width), soft_wrap=True, no_color=True)
    console.print(table)
