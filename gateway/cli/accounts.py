"""`tollgate accounts`: the tree of teams and projects that costs belong to."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from gateway.cli.arguments import AsJson, account_id, given
from gateway.cli.session import session_of
from gateway.cli.tables import moment, show_table, status

__all__ = ["COMMANDS"]

COMMANDS: Final = typer.Typer(no_args_is_help=True, help="Accounts: the tree of teams that costs belong to.")

Named = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its path or id.")]


@COMMANDS.command()
def create(
    context: typer.Context,
    path: Annotated[str, typer.Argument(help="Its path: acme, or acme/search below acme.")],
    kind: Annotated[str, typer.Option(help="Your own word: organization, team, project.")] = "team",
    cost_center: Annotated[str | None, typer.Option(help="For chargeback.")] = None,
    timezone: Annotated[str | None, typer.Option(help="IANA name; default: its parent's, else UTC.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an account; prints its id."""
    session = session_of(context)
    client = session.client()
    above, _, name = path.strip("/").rpartition("/")
    body = {"name": name, **given(kind=kind, cost_center=cost_center, timezone=timezone)}
    if above:
        parent = client.get(f"/admin/accounts/{account_id(client, above)}")
        body |= {"parent": parent["id"], "timezone": timezone or parent["timezone"]}
    made = client.post("/admin/accounts", body)
    if as_json:
        session.show_json(made)
    else:
        session.say(f"Created account {made['path']}.")
        session.show_text(made["id"])


@COMMANDS.command("list")
def list_accounts(
    context: typer.Context,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the tree."""
    session = session_of(context)
    found = sorted(
        session.client().items("/admin/accounts", deleted=deleted), key=lambda each: each["path"].split("/")
    )
    if as_json:
        session.show_json(found)
        return
    columns = ("ACCOUNT", "KIND", "STATUS", "COST CENTER", "TIME ZONE", "CREATED", "ID")
    show_table(session.data, columns, [_row(each) for each in found])
    if not found:
        session.say("There is no account yet: `tollgate accounts create acme`.")


@COMMANDS.command()
def move(
    context: typer.Context,
    account: Named,
    to: Annotated[str, typer.Argument(help="The account to move it below; / makes it a root.")],
    name: Annotated[str | None, typer.Option(help="A new name for it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Move an account and everything below it."""
    session = session_of(context)
    client = session.client()
    parent = None if to == "/" else account_id(client, to)
    moved = client.patch(
        f"/admin/accounts/{account_id(client, account)}", {"parent": parent, **given(name=name)}
    )
    if as_json:
        session.show_json(moved)
    else:
        session.say(f"It is {moved['path']} now; costs so far stay in its own history.")


@COMMANDS.command()
def block(
    context: typer.Context,
    account: Named,
    undo: Annotated[bool, typer.Option("--undo", help="Let its traffic go on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the traffic of an account and everything below it, within a second."""
    session = session_of(context)
    client = session.client()
    changed = client.patch(
        f"/admin/accounts/{account_id(client, account)}", {"status": "active" if undo else "blocked"}
    )
    if as_json:
        session.show_json(changed)
    else:
        session.say(f"{changed['path']} is {changed['status']}.")


def _row(account: Any) -> list[Any]:
    depth = account["path"].count("/")
    state = "deleted" if account["deleted_at"] else account["status"]
    return [
        "  " * depth + account["name"],
        account["kind"],
        status(state),
        account["cost_center"] or "",
        account["timezone"],
        moment(account["created_at"]),
        account["id"],
    ]
