"""Whatever an upstream sends, in every format: the client can read its answer, the ledger has a right row."""

from __future__ import annotations

import asyncio
import json
from itertools import repeat
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import formats
from gateway.domain.prices import PriceRow
from gateway.domain.usage import METERS
from gateway.formats.base import Format, Intent
from gateway.gate.counting import Counters
from gateway.gate.inbound import InboundCall
from gateway.ledger.records import Closing
from gateway.providers import anthropic, gemini, openai
from gateway.registry import scan
from tests.formats.playing import play
from tests.formats.samples import MODEL, SAMPLES
from tests.gate.making import KEY_TEXT, catalogue, upstream
from tests.gate.playbook import TABLES, Playbook

FORMATS = cast(dict[str, Format], scan(formats, "FORMAT"))
PROVIDERS = {"openai": openai.PROVIDER, "anthropic": anthropic.PROVIDER, "gemini": gemini.PROVIDER}
PRICES = [
    PriceRow("", name, MODEL, meter, pico)
    for name in PROVIDERS
    for meter, pico in (("input", 2_000_000), ("output", 8_000_000))
]
KNOWN = catalogue(*PRICES)
COUNTERS = Counters(lambda name: (TABLES / f"{name}.tiktoken.gz").read_bytes())

SSE, JSON = b"text/event-stream; charset=utf-8", b"application/json"
TYPES = [SSE, JSON, b"text/html", b"application/octet-stream", None]
PAGE = b"<html><head><title>502 Bad Gateway</title></head></html>"
ERROR = b'{"error":{"code":503,"type":"overloaded_error","message":"Overloaded","status":"UNAVAILABLE"}}'
LINE = b'data: {"x":"' + b"a" * (10 << 20) + b'"}\n\n'
JUNK = [
    *(b"\n\n", b"null", b"[]", b"{", b"}", b'"', b"-1", b"1e999", b"\\ud800", b"\xff\xfe", b"\0"),
    *(b'"usage":', b'"type":', b'"error":{"message":"x"},', b"data: ", b"event: error\n"),
    b"data: [DONE]\n\n",
]


@pytest.fixture(scope="module", autouse=True)
def _table() -> None:
    """The tokenizer is loaded once for all examples."""
    asyncio.run(COUNTERS.load(MODEL))


class Played:
    """One call of a format whose upstream answered with these bytes, to its end."""

    def __init__(self, name: str, kind: bytes | None, parts: list[bytes], ending: str) -> None:
        self.name = name
        self.sample = SAMPLES[name]
        self.dialect = FORMATS[name].dialect
        asyncio.run(self._run(name, kind, parts, ending))

    async def _run(self, name: str, kind: bytes | None, parts: list[bytes], ending: str) -> None:
        dialect = self.dialect
        play = self.play = Playbook(
            catalogue=KNOWN,
            counters=COUNTERS,
            upstreams=[upstream(dialect, PROVIDERS[dialect], drains=False)],
        )
        sent = [(b"authorization", b"Bearer " + KEY_TEXT.encode())]
        play.client(InboundCall(FORMATS[name], self.sample.path, sent, self.sample.request))
        play.write()
        headers = [] if kind is None else [(b"content-type", kind)]
        play.up.listener.on_response(200, headers)
        for part in parts:
            play.up.listener.on_data(part)
            if "upstream is cancelled" in play.said:
                break
        if "upstream is cancelled" not in play.said:
            self._end(ending)
        await play.settled()
        play.write()

    def _end(self, ending: str) -> None:
        if ending == "ends":
            self.play.up.listener.on_end()
        elif ending == "fails":
            self.play.fails()
        else:
            self.play.exchange.client_gone()

    @property
    def intent(self) -> Intent:
        return FORMATS[self.name].read(self.sample.path, self.sample.request)

    @property
    def closing(self) -> Closing:
        return self.play.closing

    @property
    def heard(self) -> list[str]:
        return [line for line in self.play.said if line.startswith("client ")]

    def check(self) -> None:
        assert self.play.gate.failures["gateway"] == 0, "a defect of ours"
        self.check_row()
        self.check_answer()

    def check_row(self) -> None:
        """One row that SQL takes, with figures that can be: what was charged is what its lines say."""
        closing = self.closing
        assert closing.outcome in ("done", "aborted", "void")
        assert set(closing.usage) <= set(METERS)
        assert all(0 < quantity < 10**13 for quantity in closing.usage.values())
        assert 0 <= closing.charge_nano < 1 << 63
        assert closing.charge_nano == sum(line[4] for line in closing.lines)
        assert "gateway_error" not in closing.flags
        if closing.outcome == "void":
            assert (closing.charge_nano, closing.requests) == (0, 0)
        elif closing.usage_source in ("counted", "mixed"):
            assert "estimated" in closing.flags
        if closing.outcome != "void" and not self.sample.free:
            assert closing.usage, "whoever worked has used something"
        msgspec.msgpack.encode(closing)
        json.dumps(closing.raw_usage.decode("utf-8", "replace") if closing.raw_usage else None)

    def check_answer(self) -> None:
        """One whole answer or one stream, ended or visibly broken off; an error of ours is in their words."""
        heard = self.heard
        if not heard:
            return  # the client had gone
        ends = [line for line in heard if line.startswith(("client gets the end", "client is cut off"))]
        if heard[0].startswith("client gets the head"):
            assert len(ends) <= 1
        else:
            assert len(heard) == 1
            assert not ends
            status = int(heard[0].removeprefix("client gets "))
            assert status in (200, 502)
            if status == 502:
                self.check_error(json.loads(self.play.down.body))
            elif self.closing.outcome == "done":
                assert self.play.down.headers[b"x-tollgate-cost-usd"]

    def check_error(self, body: Any) -> None:
        if self.dialect == "anthropic":
            assert body["type"] == "error"
        error = body["error"]
        assert error["message"]
        assert error["tollgate"]["code"] == "upstream_unavailable"
        assert error["tollgate"]["hint"]


@st.composite
def damage(draw: st.DrawFn, text: bytes) -> bytes:
    """The text with bytes cut out, put in and turned around."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(start + 40, len(text))))
        text = text[:start] + draw(st.binary(max_size=6) | st.sampled_from(JUNK)) + text[end:]
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes | None, list[bytes], str]:
    """A format, a content type, what comes under it and in which pieces, and how it ends."""
    name = draw(st.sampled_from(sorted(FORMATS)))
    sample = SAMPLES[name]
    said = draw(
        damage(draw(st.sampled_from([sample.reply, sample.stream or sample.reply, PAGE, ERROR])))
        | st.sampled_from([b"", PAGE, ERROR, b"[", b"[]", b"null", sample.stream * 2, sample.reply * 2])
    )
    size = draw(st.sampled_from([1, 7, 64, 10_000]))
    parts = [said[at : at + size] for at in range(0, len(said), size)]
    return name, draw(st.sampled_from(TYPES)), parts, draw(st.sampled_from(["ends", "ends", "fails", "gone"]))


@settings(max_examples=400)
@given(answers())
def test_any_answer_ends_in_a_row_and_in_words(made: tuple[str, bytes | None, list[bytes], str]) -> None:
    Played(*made).check()


@pytest.mark.slow
@settings(max_examples=5_000)
@given(answers())
def test_many_answers_do(made: tuple[str, bytes | None, list[bytes], str]) -> None:
    Played(*made).check()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_page_of_some_proxy_is_no_answer_and_costs_nothing(name: str) -> None:
    played = Played(name, b"text/html", [PAGE], "ends")
    played.check()
    assert played.closing.outcome == "void"
    assert played.heard == ["client gets 502"]


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_an_error_in_a_200_is_the_providers_and_costs_nothing(name: str) -> None:
    played = Played(name, JSON if name != "gemini_stream_array" else b"text/plain", [ERROR], "ends")
    played.check()
    assert (played.closing.outcome, played.closing.charge_nano) == ("void", 0)
    assert played.play.down.body == ERROR
    assert "upstream_error" in played.closing.flags


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_reply_that_was_cut_was_worked_for(name: str) -> None:
    """Half a reply is no reply: the client is told so, and what there is of it is counted."""
    played = Played(
        name, JSON if name != "gemini_stream_array" else b"text/plain", [SAMPLES[name].reply[:-5]], "ends"
    )
    played.check()
    assert played.heard == ["client gets 502"]
    assert played.closing.outcome == "aborted"
    assert "unreadable_reply" in played.closing.flags
    if not SAMPLES[name].free:
        assert played.closing.charge_nano > 0


@pytest.mark.parametrize("name", [name for name in sorted(FORMATS) if SAMPLES[name].stream])
def test_a_line_of_ten_megabytes(name: str) -> None:
    """Beyond the bound the stream is ended with an error; within it, it is a line like any other."""
    sample = SAMPLES[name]
    line = LINE if name != "gemini_stream_array" else b',{"x":"' + b"a" * (10 << 20) + b'"}'
    stream = sample.stream[:-60] + line
    parts = [stream[at : at + (1 << 16)] for at in range(0, len(stream), 1 << 16)]
    kind = JSON if name == "gemini_stream_array" else SSE
    played = Played(name, kind, parts, "ends")
    played.check()
    assert played.closing.charge_nano > 0
    if "upstream is cancelled" in played.play.said:
        assert "upstream_broke" in played.closing.flags
        assert b"of more than" in played.play.down.body[-600:]
        assert played.heard[-1] == "client is cut off"


@pytest.mark.parametrize("name", [name for name in sorted(FORMATS) if SAMPLES[name].stream])
@pytest.mark.parametrize("ending", ["ends", "fails", "gone"])
def test_a_stream_cut_at_every_byte(name: str, ending: str) -> None:
    sample = SAMPLES[name]
    kind = JSON if name == "gemini_stream_array" else SSE
    for at in range(0, len(sample.stream), 13):
        played = Played(name, kind, [sample.stream[:at]] if at else [], ending)
        played.check()
        if ending == "fails" and at and played.heard[-1] == "client is cut off":
            told = play(FORMATS[name], played.intent, played.play.down.body, repeat(50))
            assert told.error is not None
            assert "went away" in told.error.message
