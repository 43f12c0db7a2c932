"""Token counts off the hot path: encodings loaded in a thread, long texts counted in slices.

Tokenizing takes about 30 us per 1,000 characters. A slice keeps the event loop for well under 2 ms; a
text of more slices than a few is counted in a thread (tiktoken lets go of the interpreter lock).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.formats.base import Format, StreamMeter
from gateway.formats.tokens import TiktokenCounter, build_encoding, encoding_name_for

__all__ = ["SLICE_CHARS", "Counters"]

SLICE_CHARS = 4_096


class Counters:
    """The tokenizers of one worker, each loaded when it is first needed."""

    def __init__(self, table: Callable[[str], bytes]) -> None:
        """`table` reads the gzip table of an encoding's name."""
        self._table = table
        self._loaded: dict[str, TiktokenCounter] = {}
        self._loading: dict[str, asyncio.Task[TiktokenCounter]] = {}

    def ready(self, model: str) -> TiktokenCounter | None:
        """The counter for a model when it is loaded; otherwise None, and it is loaded for the next time."""
        name = encoding_name_for(model)
        counter = self._loaded.get(name)
        if counter is None:
            self._load(name)
        return counter

    async def load(self, model: str) -> TiktokenCounter:
        """The counter for a model, loading its table in a thread (0.3 s) the first time."""
        counter = self.ready(model)
        if counter is None:
            # Whoever waits may be cancelled; the table is loaded for all.
            counter = await asyncio.shield(self._load(encoding_name_for(model)))
        return counter

    def _load(self, name: str) -> asyncio.Task[TiktokenCounter]:
        task = self._loading.get(name)
        if task is None:
            task = self._loading[name] = asyncio.create_task(self._build(name))
        return task

    async def count(self, model: str, text: str) -> int:
        """The tokens of a text."""
        counter = await self.load(model)
        if len(text) <= SLICE_CHARS:
            return counter.count(text)
        return await asyncio.to_thread(counter.count, text)

    async def prompt(self, model: str, wire_format: Format, body: bytes) -> int:
        """The tokens of a request's prompt."""
        counter = await self.load(model)
        if len(body) <= SLICE_CHARS:
            return wire_format.prompt_tokens(body, counter)
        return await asyncio.to_thread(wire_format.prompt_tokens, body, counter)

    async def finish(self, model: str, meter: StreamMeter) -> int:
        """Count what a stream relayed and was not counted yet; the total of its output."""
        counter = await self.load(model)
        while True:
            if meter.count(counter, SLICE_CHARS):
                return meter.relayed_output
            await asyncio.sleep(0)  # other calls get their turn between slices

    async def _build(self, name: str) -> TiktokenCounter:
        counter = TiktokenCounter(await asyncio.to_thread(build_encoding, name, self._table(name)))
        self._loaded[name] = counter
        return counter
