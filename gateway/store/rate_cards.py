"""Rate cards in SQL: what accounts negotiated on list prices. Terms are added and ended, never changed."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from gateway.domain.errors import Conflict, NotFound
from gateway.domain.terms import Term
from gateway.store.accounts import living_account
from gateway.store.pages import page
from gateway.store.revisions import next_number
from gateway.store.tables import rate_cards

__all__ = ["add_term", "all_terms", "end_term", "list_terms", "term_by_id"]

_COLUMNS = (
    rate_cards.c.id,
    rate_cards.c.account,
    rate_cards.c.provider,
    rate_cards.c.model,
    rate_cards.c.meter,
    rate_cards.c.kind,
    rate_cards.c.amount,
    rate_cards.c.text,
    rate_cards.c.effective_from,
    rate_cards.c.effective_to,
    rate_cards.c.created_at,
)


def all_terms(conn: Connection) -> list[Term]:
    """Every term, past and future ones too."""
    return [Term._make(row) for row in conn.execute(select(*_COLUMNS))]


def term_by_id(conn: Connection, term: str) -> Term:
    """The term; NotFound where there is none."""
    row = conn.execute(select(*_COLUMNS).where(rate_cards.c.id == term)).one_or_none()
    if row is None:
        raise NotFound(
            "not_found",
            f"There is no rate card {term[:64]!r}.",
            hint="GET /admin/rate-cards lists the rate cards there are.",
        )
    return Term._make(row)


def list_terms(
    conn: Connection, *, account: str | None = None, after: str | None = None, limit: int = 100
) -> list[Term]:
    """Terms in the order of their making."""
    query = select(*_COLUMNS)
    if account is not None:
        query = query.where(rate_cards.c.account == account)
    rows = conn.execute(page(conn, query, rate_cards, after=after, limit=limit))
    return [Term._make(row) for row in rows]


def add_term(conn: Connection, term: Term) -> Term:
    """Add a term; NotFound for an account that there is not."""
    living_account(conn, term.account, param="account")
    fields = term._asdict()
    for name in ("effective_from", "effective_to"):
        fields[name] = fields.pop(f"{name}_us")
    fields["created_at"] = fields.pop("recorded_at_us")
    conn.execute(insert(rate_cards).values(**fields, revision=next_number(conn, "prices")))
    return term


def end_term(conn: Connection, term: str, at_us: int) -> tuple[Term, Term]:
    """End a term at an instant; the term before and after. Conflict where it is over already."""
    before = term_by_id(conn, term)
    if before.effective_to_us is not None and before.effective_to_us <= at_us:
        raise Conflict("conflict", f"{term} is over already.", hint="Nothing is to be done.")
    end_us = max(at_us, before.effective_from_us)
    conn.execute(
        update(rate_cards)
        .where(rate_cards.c.id == term)
        .values(effective_to=end_us, revision=next_number(conn, "prices"))
    )
    return before, before._replace(effective_to_us=end_us)
