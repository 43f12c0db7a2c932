"""Counting: tables loaded once, for whoever waits; long texts out of the loop's way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import gateway.formats
from gateway.formats.openai_chat import FORMAT
from gateway.gate.counting import SLICE_CHARS, Counters
from tests.gate.making import chat

TABLES = Path(gateway.formats.__file__).parent / "tables"


class Tables:
    """The tables of the package, and how often each was read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __call__(self, name: str) -> bytes:
        self.read.append(name)
        return (TABLES / f"{name}.tiktoken.gz").read_bytes()


async def test_a_table_is_loaded_once_for_all_who_wait() -> None:
    tables = Tables()
    counters = Counters(tables)
    assert counters.ready("gpt-4.1") is None  # and is being loaded from here on
    counts = await asyncio.gather(*(counters.count("gpt-4.1", "hello world") for _ in range(5)))
    assert (counts, tables.read) == ([2] * 5, ["o200k_base"])
    assert counters.ready("gpt-4o") is not None
    assert counters.ready("gpt-4") is None  # another encoding
    await counters.load("gpt-4")
    assert tables.read == ["o200k_base", "cl100k_base"]


async def test_who_gives_up_waiting_takes_the_table_from_nobody() -> None:
    counters = Counters(Tables())
    first = asyncio.create_task(counters.count("gpt-4.1", "hello"))
    await asyncio.sleep(0)
    first.cancel()
    assert await counters.count("gpt-4.1", "hello") == 1


async def test_long_and_short_are_counted_alike() -> None:
    counters = Counters(Tables())
    text = "word " * (SLICE_CHARS // 4)
    assert await counters.count("gpt-4.1", text) == SLICE_CHARS // 4 + 1
    for words in (3, SLICE_CHARS):
        body = chat(messages=[{"role": "user", "content": "word " * words}])
        # Three for the message, its role, its words, the blank at their end, three that begin the reply.
        assert await counters.prompt("gpt-4.1", FORMAT, body) == words + 8


async def test_a_stream_is_counted_to_its_end() -> None:
    counters = Counters(Tables())
    meter = FORMAT.meter(FORMAT.read("", chat(stream=True)))
    for _ in range(50):
        meter.feed(b'data: {"choices":[{"index":0,"delta":{"content":"' + b"word " * 400 + b'"}}]}\n\n')
    assert await counters.finish("gpt-4.1", meter) == pytest.approx(50 * 400, abs=60)
