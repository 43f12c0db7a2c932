"""The log of a resumable call: its frames by number, and who follows them.

Frames are appended once and read by any number of followers, each at a pace of its own. What all of them have
read may be dropped once the log is full; a call that nobody follows stops there until somebody does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

__all__ = ["CallLog", "Follower"]

# The upstream is held up while the slowest follower is so far behind.
MOST_BEHIND_BYTES: Final = 256 * 1024


class Follower:
    """One reader of a log. `position` is the number of the last frame it has."""

    def __init__(self, log: CallLog, after: int) -> None:
        self.position = after
        self._log = log
        self._changed = asyncio.Event()
        log.followers.add(self)

    async def next(self) -> list[bytes]:
        """The frames that came since; empty once the log is over and all of it was read."""
        while True:
            frames = self._log.after(self.position)
            if frames or self._log.is_over:
                self.position += len(frames)
                self._log.was_read()
                return frames
            self._changed.clear()
            await self._changed.wait()

    def wake(self) -> None:
        """There may be something new."""
        self._changed.set()

    def leave(self) -> None:
        """Read no more."""
        self._log.followers.discard(self)
        self._log.was_read()


class CallLog:
    """Frames 1..n of one call, of which the first may be gone."""

    def __init__(self, most_bytes: int) -> None:
        self.followers: set[Follower] = set()
        self.is_over = False
        self.size = 0
        self._most_bytes = most_bytes
        self._frames: deque[bytes] = deque()
        self._first = 1  # the number of the first frame that is there

    @property
    def last(self) -> int:
        """The number of the last frame."""
        return self._first + len(self._frames) - 1

    def has_after(self, position: int) -> bool:
        """Whether everything after this frame is still there."""
        return self._first - 1 <= position <= self.last

    def after(self, position: int) -> list[bytes]:
        """The frames after this one."""
        start = position + 1 - self._first
        return list(self._frames)[start:] if start else list(self._frames)

    def append(self, frame: bytes) -> None:
        """The next frame."""
        self._frames.append(frame)
        self.size += len(frame)
        for follower in self.followers:
            follower.wake()

    def close(self) -> None:
        """There will be no more."""
        self.is_over = True
        for follower in self.followers:
            follower.wake()

    def was_read(self) -> None:
        """Drop what everybody has, where the log is full."""
        if not self.followers or self.size <= self._most_bytes:
            return
        slowest = min(follower.position for follower in self.followers)
        while self.size > self._most_bytes // 2 and self._first <= slowest:
            self.size -= len(self._frames.popleft())
            self._first += 1

    @property
    def is_behind(self) -> bool:
        """Whether the upstream should wait: for the slowest reader, or for any while the log is full."""
        if not self.followers:
            return self.size > self._most_bytes
        slowest = min(follower.position for follower in self.followers)
        unread = 0
        for number, frame in enumerate(reversed(self._frames)):
            if self.last - number <= slowest:
                return False
            unread += len(frame)
            if unread > MOST_BEHIND_BYTES:
                return True
        return False
