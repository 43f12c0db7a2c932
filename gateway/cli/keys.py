"""`tollgate keys`: virtual keys. A key's text is printed once, alone on stdout."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson, account_id, given, instant, pairs, seconds
from gateway.cli.session import Session, session_of
from gateway.cli.tables import moment, show_table, status

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Virtual keys: what callers are given.")

Id = Annotated[str, typer.Argument(metavar="KEY", help="Its id, key_...")]


@COMMANDS.command()
def create(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="The account's path or id.")],
    name: Annotated[str, typer.Argument(help="What it is for.")],
    model: Annotated[list[str] | None, typer.Option(help="A pattern it may use, as often as needed.")] = None,
    max_output_tokens: Annotated[int | None, typer.Option(help="Output tokens of one call at most.")] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse calls over that; default: clamp.")] = False,
    require_end_user: Annotated[
        bool, typer.Option("--require-end-user", help="Calls must name one.")
    ] = False,
    sees_account: Annotated[
        bool, typer.Option("--sees-account", help="It may read its account's whole spend.")
    ] = False,
    expires: Annotated[str | None, typer.Option(help="A date, a time, or a duration such as 90d.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, as often as needed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key; prints its text, which is never shown again."""
    session = session_of(context)
    client = session.client()
    body = given(
        account=account_id(client, account),
        name=name,
        models=model or None,
        max_output_tokens=max_output_tokens,
        expires_at=instant(expires),
        on_over_cap="refuse" if refuse else "clamp",
        require_end_user=require_end_user,
        sees_account=sees_account,
        tags=pairs(tag or []),
    )
    _show_text(session, client.post("/admin/keys", body), "Created", as_json)


@COMMANDS.command("list")
def list_keys(
    context: typer.Context,
    account: Annotated[str | None, typer.Option(help="Only this account's own.")] = None,
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List keys."""
    session = session_of(context)
    client = session.client()
    only = None if account is None else account_id(client, account)
    found = list(client.items("/admin/keys", account=only, revoked=revoked))
    if as_json:
        session.show_json(found)
        return
    paths = {each["id"]: each["path"] for each in client.items("/admin/accounts", deleted=True)}
    columns = ("ID", "ACCOUNT", "NAME", "KEY", "STATUS", "MODELS", "MAX OUTPUT", "TAGS", "EXPIRES")
    rows = [_row(each, paths) for each in found]
    show_table(session.data, columns, rows, right=("MAX OUTPUT",))
    if not found:
        session.say("There is no key yet: `tollgate keys create ACCOUNT NAME`.")


@COMMANDS.command()
def rotate(
    context: typer.Context,
    key: Id,
    grace: Annotated[str, typer.Option(help="How long the old text still works: 30m, 1h, 7d.")] = "0s",
    as_json: AsJson = False,
) -> None:
    """Give a key a new text under the same id; budgets and history go on."""
    session = session_of(context)
    made = session.client().post(f"/admin/keys/{key}/rotate", {"grace_s": seconds(grace)})
    _show_text(session, made, "Rotated", as_json)


@COMMANDS.command()
def block(
    context: typer.Context,
    key: Id,
    undo: Annotated[bool, typer.Option("--undo", help="Let its traffic go on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop a key's traffic within a second; it can go on later."""
    session = session_of(context)
    changed = session.client().patch(f"/admin/keys/{key}", {"status": "active" if undo else "blocked"})
    if as_json:
        session.show_json(changed)
    else:
        session.say(f"{changed['id']} ({changed['name']}) is {changed['status']}.")


@COMMANDS.command()
def revoke(context: typer.Context, key: Id, as_json: AsJson = False) -> None:
    """End a key for good; its history stays."""
    session = session_of(context)
    client = session.client()
    client.delete(f"/admin/keys/{key}")
    ended = client.get(f"/admin/keys/{key}")
    if as_json:
        session.show_json(ended)
    else:
        session.say(f"{ended['id']} ({ended['name']}) is revoked; calls that run go on to their end.")


def _show_text(session: Session, made: Any, what: str, as_json: bool) -> None:
    if as_json:
        session.show_json(made)
        return
    session.say(f"{what} {made['id']} ({made['name']}). Keep the key below: it is not shown again.")
    session.show_text(made["key"])


def _row(key: Any, paths: dict[str, str]) -> list[Any]:
    cap = key["max_output_tokens"]
    return [
        key["id"],
        paths.get(key["account"], key["account"]),
        key["name"] if key["rotated_to"] is None else f"(old text of {key['rotated_to']})",
        key["hint"],
        status(key["status"]),
        "all" if key["models"] is None else ", ".join(key["models"]),
        "" if cap is None else f"{cap:,}",
        ", ".join(f"{name}={value}" for name, value in key["tags"].items()),
        moment(key["expires_at"]),
    ]
