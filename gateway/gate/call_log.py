"""The log of an answer: pieces numbered from 1, bounded in bytes; over the bound the older half goes."""

from __future__ import annotations

from typing import Final

__all__ = ["CallLog"]

# What a piece costs beside its bytes: the object itself and its place in the list.
PIECE_BYTES: Final = 64


class CallLog:
    """Pieces are appended and read by number, by any number of readers; `first` and `last` are kept."""

    __slots__ = ("_pieces", "first", "most_bytes", "size")

    def __init__(self, most_bytes: int) -> None:
        self._pieces: list[bytes] = []
        self.most_bytes = most_bytes
        self.first = 1
        self.size = 0

    @property
    def last(self) -> int:
        """The number of the last piece, 0 while there is none."""
        return self.first + len(self._pieces) - 1

    @property
    def is_full(self) -> bool:
        """With half as much again, what was written first would go."""
        return self.size * 3 > self.most_bytes * 2

    def has_after(self, position: int) -> bool:
        """Whether everything after this piece is still there."""
        return self.first - 1 <= position <= self.last

    def after(self, position: int, most: int) -> list[bytes]:
        """Up to `most` pieces after this one, which `has_after`."""
        start = position + 1 - self.first
        return self._pieces[start : start + most]

    def append(self, piece: bytes) -> None:
        """The next piece."""
        self._pieces.append(piece)
        self.size += len(piece) + PIECE_BYTES
        if self.size > self.most_bytes:
            self.trim()

    def trim(self) -> None:
        """Let the older half go; the newest piece stays."""
        gone = len(self._pieces) // 2
        self.size -= sum(map(len, self._pieces[:gone])) + gone * PIECE_BYTES
        self.first += gone
        del self._pieces[:gone]
