"""The auditor's books: plain integers, kept beside the ledger from what was done and what was heard.

Nothing here comes from the ledger's code. A worker's view of a window is `lease - held - unposted -
returning`; a charge goes to the windows its hold named; a settled call is in the ledger once. From that the
books predict every verdict and every balance, and know what any instant must look like in SQL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

__all__ = ["Books", "Call", "Desk", "End", "Key", "Part", "Room", "Rule", "Window", "window_start"]

SECOND_US = 1_000_000
_LENGTHS_US = {"minute": 60 * SECOND_US, "day": 86_400 * SECOND_US}
# A window by its budget, its subject and when it begins.
Key = tuple[str, str, int]


@dataclass
class Rule:
    """A budget as the auditor knows it."""

    id: str
    unit: str
    period: str
    cap: int
    created_us: int
    is_hard: bool = True
    each_user: bool = False


@dataclass
class Window:
    """A window's row. `base` is what it began with. `excess` is what a lowered cap, or a past dearer than
    the cap, left above the bound: it can only fall."""

    rule: Rule
    row: int
    cap: int
    base: int
    excess: int
    released: int = 0
    increased: int = 0


class Part(NamedTuple):
    """What a call holds of a window: None where the budget is soft. One that `is_loose` was not leased: a
    limit by the minute that went on with the worker's last share while the database was away."""

    window: Key
    unit: str
    held: int | None
    is_loose: bool


class End(NamedTuple):
    """How a call ended: where in its journal, and what it costs."""

    seq: int
    outcome: str
    charge: int
    tokens: int


@dataclass
class Call:
    """An admitted call. `so_far` are (seq, charge, tokens, parts): the counted prompt, then checkpoints."""

    attempt: str
    journal: str
    admitted_us: int
    so_far: list[tuple[int, int, int, list[Part]]]
    end: End | None = None
    is_poison: bool = False
    is_gone: bool = False  # its open record was lost with the power or the disk
    in_book: bool = False

    @property
    def parts(self) -> list[Part]:
        """What it holds by now."""
        return self.so_far[-1][3]

    def settled(self, is_alive: bool) -> End | None:
        """What it costs: as it ended or, once its worker is dead, its last checkpoint."""
        if self.end is not None or is_alive:
            return self.end
        _, charge, tokens, _ = self.so_far[-1]
        return End(0, "interrupted", charge, tokens)

    def amounts(self, end: End) -> Iterator[tuple[Part, int]]:
        """What it charges to each window."""
        for part in self.parts:
            yield part, _amount(part.unit, end)


def _amount(unit: str, end: End) -> int:
    if end.outcome == "void" or unit == "concurrent":
        return 0
    return {"usd": end.charge, "tokens": end.tokens, "requests": 1}[unit]


@dataclass
class Desk:
    """What one worker may believe, by row: leases, returns of unknown fate, (cap, spent); how far it is
    posted."""

    journal: str
    is_alive: bool = True
    lease: dict[int, int] = field(default_factory=dict)
    returning: dict[int, int] = field(default_factory=dict)
    posted: int = 0
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)
    released: dict[Key, int] = field(default_factory=lambda: defaultdict(int))


class Room(NamedTuple):
    """Whether a call fits: whatever order things happen in, and in any order at all."""

    surely: bool
    possibly: bool


class Books:
    """Everything the auditor knows."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self.windows: dict[Key, Window] = {}
        self.calls: dict[str, Call] = {}
        self.desks: dict[str, Desk] = {}
        self.leases: dict[tuple[str, int], int] = {}  # by journal and row, as SQL has them
        self.spent: dict[Key, int] = {}

    def key_of(self, row: int) -> Key:
        """The window of a row."""
        return next(key for key, window in self.windows.items() if window.row == row)

    # What was done.

    def admit(self, call: Call) -> None:
        """A call was admitted: no cap may be passed by it."""
        self.calls[call.attempt] = call
        for part in call.parts:
            self._check_promise(part, "admitted")

    def grow(self, call: Call, seq: int, parts: list[Part]) -> None:
        """A call holds more; a checkpoint says so."""
        _, charge, tokens, _ = call.so_far[-1]
        call.so_far.append((seq, charge, tokens, parts))
        for part in parts:
            self._check_promise(part, "grown")

    def _check_promise(self, part: Part, what: str) -> None:
        """spent + held <= cap; past it only by overruns, releases, what a lowered cap left above, and what
        limits without a lease let through."""
        if not part.held or part.is_loose:
            return
        window = self.windows[part.window]
        bound = window.cap + window.released + window.excess
        committed = window.base
        for call, each in self._in(part.window):
            end = call.settled(is_alive=not call.in_book)  # an orphan holds until it is adopted
            amount = (each.held or 0) if end is None else _amount(each.unit, end)
            committed += amount
            if each.is_loose:
                bound += amount
            elif end is not None and each.held is not None:
                bound += max(0, amount - each.held)
        assert committed <= bound, f"{what}: {committed} is spent and held of {bound} in {window}"

    def exposure(self, window: Key) -> int:
        """What is spent in SQL and may still be spent without asking. An overrun takes the lease from under
        what is still held, so that a worker may hold more than it has leased."""
        row, own = self.windows[window].row, defaultdict[str, int](int)
        for call, part in self._in(window):
            if not call.in_book:
                own[call.journal] += (part.held or 0) if call.end is None else _amount(part.unit, call.end)
        leased = {journal: amount for (journal, each), amount in self.leases.items() if each == row}
        journals = own.keys() | leased.keys()
        return self.spent[window] + sum(max(own[each], leased.get(each, 0)) for each in journals)

    def _in(self, window: Key) -> Iterator[tuple[Call, Part]]:
        for call in self.calls.values():
            if not call.is_gone:
                for part in call.parts:
                    if part.window == window:
                        yield call, part

    def crash(self, journal: str, synced: int | None) -> None:
        """A worker died; with `synced` the power went, and records after that one went with it."""
        self.desks[journal].is_alive = False
        if synced is None:
            return
        for call in self._of(journal):
            if call.so_far[0][0] > synced:
                assert not call.in_book, f"SQL ran ahead of the disk: {call}"
                call.is_gone = True
            if call.end is not None and call.end.seq > synced:
                assert not call.in_book, f"SQL ran ahead of the disk: {call}"
                call.end = None
            call.so_far = [so_far for so_far in call.so_far if so_far[0] <= synced] or call.so_far[:1]

    def lose_disk(self, journal: str) -> None:
        """A dead worker's journal is lost with its machine: what was not posted is unknown for ever."""
        for call in self._of(journal):
            call.is_gone = not call.in_book

    def _of(self, journal: str) -> Iterable[Call]:
        return [call for call in self.calls.values() if call.journal == journal and not call.is_gone]

    # What a worker believes.

    def held(self, journal: str, window: Key) -> int:
        """Open holds of a worker in a window."""
        return sum(
            part.held or 0 for call, part in self._in(window) if call.journal == journal and call.end is None
        )

    def unposted(self, journal: str, window: Key) -> int:
        """Charges of a worker's closed calls that it does not know to be in SQL."""
        posted = self.desks[journal].posted
        return sum(
            _amount(part.unit, call.end)
            for call, part in self._in(window)
            if call.journal == journal and call.end is not None and call.end.seq > posted
        )

    def overrun(self, journal: str, window: Key) -> int:
        """What a worker's closed calls cost beyond their holds. Posted ones count too: they took the lease
        from under what is still held."""
        return sum(
            max(0, _amount(part.unit, call.end) - (part.held or 0))
            for call, part in self._in(window)
            if call.journal == journal and call.end is not None
        )

    def free(self, journal: str, window: Key) -> int:
        """What a worker may admit without asking."""
        desk, row = self.desks[journal], self.windows[window].row
        used = self.held(journal, window) + self.unposted(journal, window)
        return desk.lease.get(row, 0) - used - desk.returning.get(row, 0)

    def rest(self, window: Key) -> int:
        """What is left of a cap once everything that has ended is posted."""
        unposted = (self.unposted(desk.journal, window) for desk in self.desks.values() if desk.is_alive)
        return self.windows[window].cap - self.spent[window] - sum(unposted)

    def believes_final(self, journal: str, needs: Mapping[Key, int]) -> bool:
        """Whether a worker would refuse from what it last heard: spent + need > cap."""
        heard = self.desks[journal].heard
        figures = [(heard.get(self.windows[window].row), need) for window, need in needs.items()]
        return any(known is not None and known[1] + need > known[0] for known, need in figures)

    # What follows.

    def room(
        self, journal: str, needs: Mapping[Key, int], reachable: Sequence[str], perhaps: Sequence[str]
    ) -> Room:
        """Whether a call of these needs, by window, fits once others gave back what they can: those that
        are reachable do, those that perhaps are may."""
        surely = possibly = True
        for window, need in needs.items():
            most = self._elsewhere(journal, window, reachable)[0]
            least = self._elsewhere(journal, window, perhaps)[1]
            own = self.held(journal, window) + self.unposted(journal, window) + need
            cap = self.windows[window].cap
            surely = surely and own <= cap - most
            possibly = possibly and (own <= cap - least or need <= self.free(journal, window))
        return Room(surely, possibly)

    def _elsewhere(self, journal: str, window: Key, reachable: Sequence[str]) -> tuple[int, int]:
        """Spent, and leased to others for good: at most and at least, by the order of posts and returns."""
        most = least = self.spent[window]
        for (other, row), amount in self.leases.items():
            if row != self.windows[window].row or other == journal:
                continue
            if other not in reachable:
                most, least = most + amount, least + amount
                continue
            held, unposted = self.held(other, window), self.unposted(other, window)
            least += min(amount, held + unposted)
            most += unposted + min(max(0, amount - unposted), held)
        return most, least


def window_start(period: str, at_us: int) -> int:
    """When the window of an instant begins, in UTC; a lifetime begins at 0."""
    if period == "lifetime":
        return 0
    if period == "month":
        at = datetime.fromtimestamp(at_us // SECOND_US, UTC)
        return int(datetime(at.year, at.month, 1, tzinfo=UTC).timestamp()) * SECOND_US
    length = _LENGTHS_US[period]
    return at_us - at_us % length
