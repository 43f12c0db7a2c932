"""`tollgate report NAME`: any report, as a table, as JSON, or as a file of CSV, JSON or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.arguments import AsJson
from gateway.cli.client import USAGE, CommandFailed
from gateway.cli.saving import save
from gateway.cli.session import session_of
from gateway.cli.tables import show_table

__all__ = ["report"]


def report(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="spend, usage, budgets, calls ...")],
    start: Annotated[str | None, typer.Option(help="A date or RFC 3339 time; default: this month.")] = None,
    end: Annotated[str | None, typer.Option(help="Exclusive.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA name; days begin by it.")] = None,
    bucket: Annotated[str | None, typer.Option(help="hour, day, week or month.")] = None,
    group_by: Annotated[
        str | None, typer.Option(help="account,key,model,provider,meter,end_user,tag:NAME")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only this account and those below it.")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for any other parameter, as often as needed.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Such as EUR; needs exchange rates.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a file: .csv, .json or .parquet.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", show_default=False)] = False,
    as_json: AsJson = False,
) -> None:
    """Print a report. The last line of a table is the total of the printed rows."""
    session = session_of(context)
    client = session.client()
    query = {
        "start": start,
        "end": end,
        "timezone": timezone,
        "bucket": bucket,
        "group_by": group_by,
        "account": account,
        "currency": currency,
        **_others(where or []),
    }
    if output is not None:
        save(session, client, f"/reports/{name}", output, format=_suffix(output), **query)
        return
    if as_csv:
        session.data.file.write(client.text(f"/reports/{name}", format="csv", **query))
        return
    found = client.get(f"/reports/{name}", **query)
    if as_json:
        session.show_json(found)
        return
    columns = [_name(column) for column in found["columns"]]
    rows = [[_cell(row.get(column)) for column in columns] for row in found["rows"]]
    total = found.get("total") or {}
    if rows and total:
        rows.append([_cell(total.get(column)) if column in total else "" for column in columns])
        rows[-1][0] = rows[-1][0] or "total"
    figures = [column for column in columns if _is_figure(found["rows"], column)]
    show_table(session.data, columns, rows, right=figures)
    session.say(f"complete up to {found['as_of']}")


def _suffix(output: Path) -> str:
    if output.suffix not in (".csv", ".json", ".parquet"):
        raise CommandFailed(
            f"{output} does not say what to write.", "End its name in .csv, .json or .parquet.", USAGE
        )
    return output.suffix.removeprefix(".")


def _others(written: list[str]) -> dict[str, str]:
    others = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not equals:
            raise CommandFailed(f"{each!r} is no parameter.", "Write --where model=gpt-4.1.", USAGE)
        others[name] = value
    return others


def _name(column: Any) -> str:
    return str(column["name"]) if isinstance(column, dict) else str(column)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return value if isinstance(value, str) else ", ".join(map(str, value))


def _is_figure(rows: list[Any], column: str) -> bool:
    values = [row.get(column) for row in rows if row.get(column) is not None]
    return bool(values) and all(
        isinstance(value, int) or str(value).replace(".", "").replace("-", "").isdigit() for value in values
    )
