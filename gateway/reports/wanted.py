"""What is to be summed up, and what a sum looks like, whichever source it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.reports.base import Query, Visible
from gateway.store.reading import Selection

__all__ = ["CALLS", "MEASURES", "TAG", "SumRow", "Wanted", "selection_of"]

TAG: Final = "tag:"
# The meter whose quantity is the number of calls.
CALLS: Final = "requests"


# What can be summed up: calls, units, and nano-USD.
MEASURES: Final = ("calls", "quantity", "cost", "list_cost")


class SumRow(NamedTuple):
    """Sums of one bucket, group and meter ("" where meters are not kept apart), one for each measure."""

    bucket: int
    group: tuple[str, ...]
    meter: str
    amounts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to sum up: `measures` of the rows of `selection` by `groups`, and by meter where `by_meter`.

    `names` are end users and tags (`tag:NAME`) that calls must have, "" for none. Accounts are told apart
    by their paths, or `by_id`.
    """

    selection: Selection
    groups: tuple[str, ...]
    by_meter: bool
    measures: tuple[str, ...]
    names: Mapping[str, str]
    by_id: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """The dimensions asked for that the plain sums do not have: end user and tags."""
        return tuple(sorted({*self.names, *(name for name in self.groups if _is_named(name))}))

    @property
    def columns(self) -> tuple[str, ...]:
        """The groups, and the meter after them unless it is one."""
        return tuple(dict.fromkeys((*self.groups, "meter"))) if self.by_meter else self.groups

    @classmethod
    def of(
        cls, query: Query, visible: Visible, measures: tuple[str, ...], *, by_meter: bool, by_id: bool = False
    ) -> Wanted:
        """What a query asks for, of what may be seen."""
        return cls(
            selection=selection_of(query, visible),
            groups=query.group_by,
            by_meter=by_meter or "meter" in query.group_by,
            measures=measures,
            names={name: value for name, value in query.filters.items() if _is_named(name)},
            by_id=by_id,
        )


def selection_of(query: Query, visible: Visible) -> Selection:
    """The rows that match a query's filters, end users and tags apart, and may be seen."""
    keys = (visible.key, query.filters.get("key"))
    return Selection(
        roots=visible.roots,
        keys=tuple(key for key in keys if key is not None),
        equal={name: query.filters[name] for name in ("provider", "model") if name in query.filters},
    )


def _is_named(dimension: str) -> bool:
    return dimension == "end_user" or dimension.startswith(TAG)
