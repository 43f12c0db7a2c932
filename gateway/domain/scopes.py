"""Scopes: whom a cost belongs to, and which budgets apply to it. One table, one engine.

`DIMENSIONS` has one entry for each thing a budget can be narrowed to: how it is matched, and whether `each`
of its values may have a window of its own. Matching, windows and validation read that table alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.domain.budgets import Budget
from gateway.domain.errors import BadRequest
from gateway.domain.names import END_USER, tag_kind, tag_name_problem
from gateway.domain.patterns import matches_model

__all__ = [
    "DIMENSIONS",
    "Dimension",
    "Scope",
    "allowed_model",
    "applies",
    "budgets_for",
    "check_each",
    "names_in",
    "subject",
]


class Scope(NamedTuple):
    """Everything a budget may ask about a call.

    `accounts` runs from the key's own account up to the root. `provider` and `model` are the resolved
    catalogue names. `tags` are the key's own tags over the request's.
    """

    key: str
    accounts: tuple[str, ...]
    provider: str
    model: str
    end_user: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing a budget can be narrowed to.

    `covers` is true when the budget does not narrow it, or the call matches. `value` is what a call has in
    this dimension, for budgets with `each`; a dimension that `takes_name` is spelt `each_name:NAME`.
    `names` are the (kind, name) pairs of a budget that callers choose freely.
    """

    covers: Callable[[Budget, Scope], bool]
    each_name: str | None = None
    takes_name: bool = False
    value: Callable[[Scope, str], str | None] = lambda scope, name: None
    names: Callable[[Budget], Iterable[tuple[str, str]]] = lambda budget: ()


DIMENSIONS: Final[tuple[Dimension, ...]] = (
    Dimension(
        covers=lambda budget, scope: budget.key is None or budget.key == scope.key,
        each_name="key",
        value=lambda scope, _: scope.key,
    ),
    Dimension(covers=lambda budget, scope: budget.account is None or budget.account in scope.accounts),
    Dimension(covers=lambda budget, scope: budget.provider is None or budget.provider == scope.provider),
    Dimension(
        covers=lambda budget, scope: budget.end_user is None or budget.end_user == scope.end_user,
        each_name=END_USER,
        value=lambda scope, _: scope.end_user,
        names=lambda budget: () if budget.end_user is None else ((END_USER, budget.end_user),),
    ),
    Dimension(
        covers=lambda budget, scope: all(
            scope.tags.get(name) == value for name, value in budget.tags.items()
        ),
        each_name="tag",
        takes_name=True,
        value=lambda scope, name: scope.tags.get(name),
        names=lambda budget: ((tag_kind(tag), value) for tag, value in budget.tags.items()),
    ),
    Dimension(
        covers=lambda budget, scope: (
            not budget.models or matches_model(budget.models, scope.provider, scope.model)
        )
    ),
)
_EACH: Final = {dimension.each_name: dimension for dimension in DIMENSIONS if dimension.each_name is not None}


def applies(budget: Budget, scope: Scope) -> bool:
    """Whether the budget covers the call: everything the budget narrows must match."""
    return all(dimension.covers(budget, scope) for dimension in DIMENSIONS)


def subject(budget: Budget, scope: Scope) -> str:
    """Whose window of the budget the call belongs to: its value of `each`, "" without `each`.

    Calls that carry no such value share the window of "", so that leaving a name out escapes nothing.
    Names are never empty (`names`), so nobody can ask for that window.
    """
    if budget.each is None:
        return ""
    kind, _, name = budget.each.partition(":")
    return _EACH[kind].value(scope, name) or ""


def budgets_for(budgets: Iterable[Budget], scope: Scope) -> tuple[tuple[Budget, str], ...]:
    """Every budget that applies to the call, with its subject, in the order given."""
    return tuple((budget, subject(budget, scope)) for budget in budgets if applies(budget, scope))


def allowed_model(patterns: Sequence[str] | None, provider: str, model: str) -> bool:
    """Whether a key's list of models has this one; no list, or an empty one, allows every model."""
    return not patterns or matches_model(patterns, provider, model)


def check_each(each: str | None) -> None:
    """Raise BadRequest for an `each` that names no dimension with values."""
    if each is None:
        return
    kind, colon, name = each.partition(":")
    dimension = _EACH.get(kind)
    if dimension is not None and (tag_name_problem(name) is None if dimension.takes_name else not colon):
        return
    spelt = ", ".join(f"{name}:NAME" if known.takes_name else name for name, known in _EACH.items())
    message = f"A budget cannot have each {each[:40]!a}."
    raise BadRequest("invalid_value", message, hint=f"Use one of {spelt}.", param="each")


def names_in(budgets: Iterable[Budget]) -> Iterator[tuple[str, str]]:
    """The (kind, name) pairs that budgets name, for `NameGate.pin`."""
    for budget in budgets:
        for dimension in DIMENSIONS:
            yield from dimension.names(budget)
