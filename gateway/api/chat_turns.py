"""One answer as one socket follows it: frames with their numbers, written while the peer reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gateway.api.socket_wire import GatewaySockets
from gateway.formats.chat_frames import numbered
from gateway.gate.resumable import ResumableCall, error_object, gone

__all__ = ["Turn"]

FRAMES_AT_ONCE = 64


class Turn:
    """A Follower of its call. `ended` hears when the last frame is written, or nobody reads any more."""

    __slots__ = ("_caught_up", "_ended", "_position", "_request_id", "_socket", "_tail", "call")

    def __init__(
        self,
        socket: GatewaySockets,
        request_id: str | None,
        after: int,
        ended: Callable[[Turn], None],
    ) -> None:
        self._socket = socket
        self._request_id = b"" if request_id is None else b',"request_id":' + msgspec.json.encode(request_id)
        self._position = after
        self._ended = ended
        self._tail = b""  # what every frame ends with, once the call has a name
        self._caught_up: asyncio.Event | None = None  # of a call that is passed on
        self.call: ResumableCall | None = None

    @property
    def is_slow(self) -> bool:
        """The peer has more to read than it should."""
        return self._socket.is_slow

    def follow(self, call: ResumableCall) -> None:
        """Tell this call, which this is a follower of already."""
        self.call = call
        self.wake()

    def leave(self) -> None:
        """The socket is gone."""
        if self.call is not None:
            self.call.leave(self)

    def paced(self) -> None:
        """The peer has become slow, or caught up."""
        if self._caught_up is not None and not self.is_slow:
            self._caught_up.set()
        if self.call is not None:
            self.wake()
            self.call.pace()

    def wake(self) -> None:
        """Write what there is."""
        call = self.call
        if call is None:
            return
        if call.call and not self._tail:
            self.named(call.call)
        log = call.log
        while self._position < log.last and not self._socket.is_slow:
            if self._position + 1 < log.first:
                self._finish(call, error_object(gone(call.call)))
                return
            frames = log.after(self._position, FRAMES_AT_ONCE)
            first, tail = self._position + 1, self._tail
            self._position += len(frames)
            self._socket.send_texts(
                [numbered(frame, number, tail) for number, frame in enumerate(frames, first)]
            )
        if call.is_over and self._position >= log.last:
            self._finish(call, call.error)

    def _finish(self, call: ResumableCall, error: bytes | None) -> None:
        if error is not None:
            self._socket.send_texts([b'{"error":%b%b' % (error, self._tail or self._request_id + b"}")])
        self.call = None
        call.leave(self)
        self._ended(self)

    # Of a call that another worker has.

    def named(self, call: str) -> None:
        """The first frame of an answer: its call."""
        name = call.encode()
        self._tail = b',"call":"%b"%b}' % (name, self._request_id)
        self._socket.send_texts([b'{"type":"call","call":"%b"%b}' % (name, self._request_id)])

    async def pass_on(self, frame: bytes) -> None:
        """Write a frame as another worker made it, once the peer has room for it."""
        self._socket.send_texts([frame[:-1] + self._request_id + b"}"])
        if self.is_slow:
            self._caught_up = asyncio.Event()
            await self._caught_up.wait()
