"""`tollgate webhooks`: where alerts go. A signing secret is printed once, alone on stdout."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson, account_id, given, seconds
from gateway.cli.client import FOUND_A_PROBLEM, Client
from gateway.cli.session import Session, session_of
from gateway.cli.tables import moment, show_table, status

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Webhooks: where alerts go.")

Id = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, whk_...")]
# The first retry is over by then.
TEST_LIMIT_S: Final = 10.0
LOOK_EVERY_S: Final = 0.2


@COMMANDS.command()
def add(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A URL, a PagerDuty routing key or a mail address.")],
    written: Annotated[
        str, typer.Option("--format", help="standard, slack, pagerduty or email.")
    ] = "standard",
    event: Annotated[
        list[str] | None, typer.Option(help="An event or a pattern, as often as needed; default: budget.*")
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only of this account and those below it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a target; prints its signing secret, which is never shown again."""
    session = session_of(context)
    client = session.client()
    only = None if account is None else account_id(client, account)
    body = given(target=target, format=written, events=event or None, account=only)
    _show_secret(session, client.post("/admin/webhooks", body), "Added", as_json)


@COMMANDS.command("list")
def list_webhooks(context: typer.Context, as_json: AsJson = False) -> None:
    """List targets."""
    session = session_of(context)
    found = list(session.client().items("/admin/webhooks"))
    if as_json:
        session.show_json(found)
        return
    columns = ("ID", "FORMAT", "TARGET", "EVENTS", "ACCOUNT", "STATUS", "WHY")
    show_table(session.data, columns, [_row(each) for each in found])
    if not found:
        session.say("There is no webhook yet: `tollgate webhooks add URL`.")


@COMMANDS.command("test")
def try_out(context: typer.Context, webhook: Id, as_json: AsJson = False) -> None:
    """Send a test to a target and wait for the answer; exit status 1 when it did not take it."""
    session = session_of(context)
    client = session.client()
    delivery = client.post(f"/admin/webhooks/{webhook}/test", {})
    with session.working("Waiting for the target ..."):
        delivery = _ended(client, delivery)
    _show_delivery(session, delivery, as_json)


@COMMANDS.command()
def rotate(
    context: typer.Context,
    webhook: Id,
    overlap: Annotated[str, typer.Option(help="How long both secrets sign: 30m, 1h, 7d.")] = "1d",
    as_json: AsJson = False,
) -> None:
    """Give a target another signing secret; prints it."""
    session = session_of(context)
    made = session.client().post(f"/admin/webhooks/{webhook}/rotate", {"overlap_s": seconds(overlap)})
    _show_secret(session, made, "Rotated", as_json)


@COMMANDS.command()
def log(
    context: typer.Context,
    webhook: Id,
    only: Annotated[str | None, typer.Option("--status", help="pending, delivered or dead.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what was or is to be delivered to a target."""
    session = session_of(context)
    found = list(session.client().items(f"/admin/webhooks/{webhook}/deliveries", status=only))
    if as_json:
        session.show_json(found)
        return
    columns = ("DELIVERY", "EVENT", "MADE", "STATUS", "TRIES", "NEXT", "LAST ANSWER")
    show_table(session.data, columns, [_line(each) for each in found], right=("TRIES",))


@COMMANDS.command()
def replay(
    context: typer.Context,
    delivery: Annotated[str, typer.Argument(help="Its id, dlv_..., from the log.")],
    as_json: AsJson = False,
) -> None:
    """Deliver once more, with the same event id, and wait for the answer."""
    session = session_of(context)
    client = session.client()
    again = client.post(f"/admin/deliveries/{delivery}/replay", {})
    with session.working("Waiting for the target ..."):
        again = _ended(client, again)
    _show_delivery(session, again, as_json)


def _ended(client: Client, delivery: Any) -> Any:
    """The delivery once it was tried, or as it is when nobody got to it in time."""
    deadline = time.monotonic() + TEST_LIMIT_S
    while delivery["status"] == "pending" and not delivery["attempts"] and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        delivery = client.get(f"/admin/deliveries/{delivery['id']}")
    return delivery


def _show_delivery(session: Session, delivery: Any, as_json: bool) -> None:
    if as_json:
        session.show_json(delivery)
    elif delivery["status"] == "delivered":
        session.say(f"Delivered in {delivery['log'][0]['took_ms']} ms: {delivery['event_id']}.")
    else:
        session.say(f"Not delivered: {_last(delivery) or 'nobody got to it yet'}.")
    if delivery["status"] != "delivered":
        raise typer.Exit(FOUND_A_PROBLEM)


def _show_secret(session: Session, made: Any, what: str, as_json: bool) -> None:
    if as_json:
        session.show_json(made)
        return
    if made["secret"] is None:
        session.say(f"{what} {made['id']} ({made['target']}). What goes there is not signed.")
        session.show_text(made["id"])
        return
    session.say(f"{what} {made['id']} ({made['target']}). Keep the secret below: it is not shown again.")
    session.show_text(made["secret"])


def _row(webhook: Any) -> list[Any]:
    return [
        webhook["id"],
        webhook["format"],
        webhook["target"],
        ", ".join(webhook["events"]),
        webhook["account"] or "all",
        status(webhook["status"]),
        webhook["reason"] or "",
    ]


def _line(delivery: Any) -> list[Any]:
    return [
        delivery["id"],
        delivery["event"],
        moment(delivery["created_at"]),
        status(delivery["status"]),
        str(delivery["attempts"]),
        moment(delivery["next_at"]),
        _last(delivery),
    ]


def _last(delivery: Any) -> str:
    """What the latest attempt heard."""
    if not delivery["log"]:
        return ""
    latest = delivery["log"][0]
    return str(latest["error"] or f"HTTP {latest['status']}")
