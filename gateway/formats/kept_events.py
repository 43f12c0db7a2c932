"""The events of a stream that were relayed: kept raw while nobody asks, read when somebody does.

Most streams are never counted: their usage arrives in the end. So events are kept as the bytes they came
in, and only a cap that might be reached, a missing usage or a cut has them decoded and their text counted.
What an event says is the dialect's to know.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Final

from gateway.formats.base import Counter
from gateway.formats.sse import Event, read_event, split_events
from gateway.formats.tally import Tally

__all__ = ["KeptEvents"]

# What may wait undecoded or decoded but uncounted, per stream.
_WAITING_BYTES_MAX: Final = 64 * 1024
_UNCOUNTED_BYTES_MAX: Final = 64 * 1024

# More texts than that are counted as one.
_TEXTS_MAX: Final = 1024
_MORE: Final = "more"


class KeptEvents:
    """The texts of one stream, counted only when asked for.

    `texts_of` reads one event and says which texts it continues, by any name, and with what. `frame`
    matches the start of an event up to where its text begins; it must hold quotes that no JSON string can
    hold unescaped, so that wherever it occurs it is frame, not text.
    """

    def __init__(
        self, texts_of: Callable[[Event], Iterable[tuple[Hashable, str]]], frame: re.Pattern[bytes]
    ) -> None:
        self._texts_of = texts_of
        self._frame_pattern = frame
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        # The frame that events have at present, how many of the waiting blocks were searched for it, and
        # the bytes of it found in them.
        self._frame = b""
        self._measured = 0
        self._frame_bytes = 0
        self._tallies: dict[Hashable, Tally] = {}

    def keep(self, block: bytes) -> None:
        """Take in whole events that were relayed."""
        self._waiting.append(block)
        self._waiting_bytes += len(block)
        if self._waiting_bytes > _WAITING_BYTES_MAX:
            self.read_all()

    @property
    def tokens(self) -> int:
        """The tokens of all that was counted."""
        return sum(tally.tokens for tally in self._tallies.values())

    def has_text(self) -> bool:
        """Whether anything was generated at all."""
        self.read_all()
        return bool(self._tallies)

    def may_exceed(self, cap: int) -> bool:
        """Whether the text may be more than `cap` tokens, or waits in such bulk that it should be counted.

        No token is shorter than a byte, and no text shorter in JSON than in UTF-8.
        """
        room = cap - self.tokens
        uncounted = self._uncounted_bytes()
        if uncounted > _UNCOUNTED_BYTES_MAX:
            return True
        if self._waiting_bytes + uncounted <= room:
            return False
        if self._waiting_bytes - self._measure() + uncounted <= room:
            return False
        self.read_all()
        return self._uncounted_bytes() > room

    def count(self, counter: Counter, budget_chars: int) -> bool:
        """Count at most so many characters; True once nothing is left."""
        while budget_chars > 0:
            for tally in self._tallies.values():
                budget_chars -= tally.count(counter, budget_chars)
            if self._waiting:
                if budget_chars > 0:
                    self._read_one()
            elif not self._uncounted_bytes():
                return True
        return not self._waiting and not self._uncounted_bytes()

    def read_all(self) -> None:
        """Have every event read that was kept so far."""
        while self._waiting:
            self._read_one()
        # Thinking gives way to text, and that to calls: the next frame may be another.
        self._frame = b""

    def add(self, name: Hashable, text: str) -> None:
        """Continue a text."""
        tally = self._tallies.get(name)
        if tally is None:
            if len(self._tallies) >= _TEXTS_MAX:
                name = _MORE
            tally = self._tallies.setdefault(name, Tally())
        tally.add(text)

    def _uncounted_bytes(self) -> int:
        return sum(tally.uncounted_bytes for tally in self._tallies.values())

    def _measure(self) -> int:
        """The bytes of the waiting blocks that are surely frame: found at the speed of a search."""
        if not self._frame:
            matches = map(self._frame_pattern.search, self._waiting)
            found = next((match for match in matches if match), None)
            if found is None:
                return 0
            self._frame = found[0]
        for at in range(self._measured, len(self._waiting)):
            self._frame_bytes += self._waiting[at].count(self._frame) * len(self._frame)
        self._measured = len(self._waiting)
        return self._frame_bytes

    def _read_one(self) -> None:
        block = self._waiting.popleft()
        self._waiting_bytes -= len(block)
        self._measured, self._frame_bytes = 0, 0
        for raw in split_events(block):
            event = read_event(raw)
            if event is not None:
                for name, text in self._texts_of(event):
                    self.add(name, text)
