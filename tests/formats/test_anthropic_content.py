"""The prompt of a Messages request: what of it is media, what is out of sight, what of it is text."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.formats.anthropic_content import Block, Content, prompt_texts, prompt_tokens
from tests.formats.playing import CharCounter


def content_of(*blocks: dict[str, Any], model: str = "claude-sonnet-4-5") -> Content:
    content = Content(model)
    content.add(msgspec.json.decode(json.dumps(blocks), type=list[Block]))
    return content


def test_text_costs_its_bytes() -> None:
    content = content_of({"type": "text", "text": "A pier"})
    assert (content.tokens, content.body_bytes, content.unseen) == (0, 0, False)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-3-5-sonnet-20241022", 1_568),
        ("claude-sonnet-4-5", 1_568),
        ("claude-opus-4-6-20260101", 1_568),
        ("claude-opus-4-8", 4_784),
        ("claude-sonnet-5", 4_784),
    ],
)
def test_an_image_costs_what_its_model_scales_it_to(model: str, tokens: int) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 900}}
    content = content_of(image, model=model)
    assert (content.tokens, content.body_bytes, content.unseen) == (tokens, 900, False)


@pytest.mark.parametrize(
    ("block", "unseen"),
    [
        ({"type": "document", "source": {"type": "text", "data": "A pier"}}, False),
        ({"type": "document", "source": {"type": "content", "content": "A pier"}}, False),
        ({"type": "document", "source": {"type": "base64", "data": "JVBERi0="}}, True),
        ({"type": "document", "source": {"type": "url", "url": "https://example.com/x.pdf"}}, True),
        ({"type": "tool_result", "content": "high water"}, False),
        ({"type": "tool_result", "content": {"no": "list"}}, True),
        ({"type": "thinking", "thinking": "...", "signature": "abc"}, False),
        ({"type": "web_fetch_tool_result", "content": {"text": "x"}}, False),
        ({"type": "web_fetch_tool_result", "content": {"source": {"type": "base64"}}}, True),
        ({"type": "dream"}, True),
    ],
)
def test_what_is_out_of_sight(block: dict[str, Any], unseen: bool) -> None:
    assert content_of(block).unseen == unseen


def test_blocks_nest() -> None:
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}}
    assert content_of({"type": "tool_result", "content": [image, image]}).tokens == 2 * 1_568


def test_citing_marks_every_sentence() -> None:
    source = {"type": "text", "data": "A pier"}
    plain = content_of({"type": "document", "source": source})
    cited = content_of({"type": "document", "source": source, "citations": {"enabled": True}})
    assert plain.tokens == 0
    assert cited.tokens > 1_024


def test_a_wish_to_cache_for_long() -> None:
    assert content_of({"type": "text", "cache_control": {"ttl": "1h"}}).has_long_cache
    assert not content_of({"type": "text", "cache_control": {"ttl": "5m"}}).has_long_cache


def body_of(**members: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": "A pier"}], **members}).encode()


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, [["user", "A pier"]]),
        ({"system": "Be brief."}, [["user", "A pier"], ["Be brief."]]),
        ({"tools": [{"name": "t"}]}, [["user", "A pier"], ['[{"name":"t"}]']]),
        ({"output_format": {"type": "x"}}, [["user", "A pier"], ['{"type":"x"}']]),
    ],
)
def test_texts(members: dict[str, Any], expected: list[list[str]]) -> None:
    assert prompt_texts(body_of(**members)) == expected


def test_media_and_names_are_no_text() -> None:
    blocks = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "tool_use", "id": "t1", "name": "tide", "input": {"port": "Whitby"}},
    ]
    body = json.dumps({"messages": [{"role": "user", "content": blocks}]}).encode()
    assert prompt_texts(body) == [["user", "tide", '{"port":"Whitby"}']]


def test_tools_come_with_instructions() -> None:
    assert prompt_tokens(body_of(tools=[{"name": "t"}]), CharCounter()) > 500
    assert prompt_tokens(body_of(tools=[]), CharCounter()) == 4 + 4 + len("userA pier")
