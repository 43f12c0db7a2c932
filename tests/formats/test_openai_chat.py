"""The registry finds the formats, and each answers for paths of its own."""

from __future__ import annotations

from typing import get_args

from gateway import formats
from gateway.formats.base import Dialect, Format
from gateway.formats.openai_chat import FORMAT
from gateway.registry import scan
from tests.formats.playing import any_intent


def test_the_registry_finds_every_format_under_its_own_name_and_paths() -> None:
    found: dict[str, Format] = scan(formats, "FORMAT")
    assert found["openai_chat"] is FORMAT
    assert found["openai_completions"].paths == ("/v1/completions",)
    paths = [path for each in found.values() for path in each.paths]
    assert len(paths) == len(set(paths))
    assert all(each.dialect in get_args(Dialect) for each in found.values())


def test_each_stream_has_a_meter_of_its_own() -> None:
    first, second = FORMAT.meter(any_intent()), FORMAT.meter(any_intent())
    first.feed(b"data: [DONE]\n\n")
    assert first.ended
    assert not second.ended


def test_the_text_of_a_reply_is_that_of_all_its_choices() -> None:
    second = b'{"index":1,"message":{"reasoning_content":"b","content":"c"}}'
    reply = b'{"choices":[{"message":{"content":"a"}},' + second + b"]}"
    assert sorted(FORMAT.reply_text(reply).split("\n")) == ["a", "b", "c"]
