"""Which text of a message the model wrote, in streams and in whole replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.formats.anthropic_blocks import FRAME, Blocks, reply_texts
from gateway.formats.sse import Event


def texts(blocks: Blocks, kind: str, **members: Any) -> list[str]:
    event = Event(kind, json.dumps({"type": kind, **members}).encode())
    return [text for _, text in blocks.texts_of(event)]


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"type": "text_delta", "text": "Whit"}, ["Whit"]),
        ({"type": "thinking_delta", "thinking": "A port?"}, ["A port?"]),
        ({"type": "input_json_delta", "partial_json": '{"a'}, ['{"a']),
        ({"type": "compaction_delta", "content": "In short"}, ["In short"]),
        ({"type": "signature_delta", "signature": "abc"}, []),
        ({"type": "citations_delta", "citation": {"cited_text": "x"}}, []),
        ({"type": "text_delta", "text": 5}, []),
    ],
)
def test_deltas(delta: dict[str, Any], expected: list[str]) -> None:
    assert texts(Blocks(), "content_block_delta", index=0, delta=delta) == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "text", "text": "Whitby"}, ["Whitby"]),
        ({"type": "tool_use", "name": "tide", "input": {}}, ["tide"]),
        ({"type": "tool_use", "name": "tide", "input": {"a": 1}}, ["tide", '{"a": 1}']),
        ({"type": "web_search_tool_result", "content": "found"}, []),
        ({"type": "mcp_tool_result", "text": "found"}, []),
        ({"type": "compaction", "content": "In short"}, ["In short"]),
        ({"type": "compaction", "content": None}, []),
        ({"type": "dream", "text": "zzz"}, ["zzz"]),
    ],
)
def test_blocks(block: dict[str, Any], expected: list[str]) -> None:
    assert texts(Blocks(), "content_block_start", index=0, content_block=block) == expected
    assert reply_texts(json.dumps({"content": [block]}).encode()) == expected


def test_open_blocks_are_known() -> None:
    blocks = Blocks()
    for index in (0, 1):
        texts(blocks, "content_block_start", index=index, content_block={"type": "text"})
    texts(blocks, "content_block_stop", index=0)
    assert blocks.open == {1}
    texts(blocks, "message_start", message={})
    assert blocks.open == set()


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"type":5}', b'{"type":"content_block_delta","delta":"\xff"}']
)
def test_what_is_no_event_says_nothing(data: bytes) -> None:
    assert list(Blocks().texts_of(Event("message", data))) == []


def test_broken_utf8_is_read_all_the_same() -> None:
    data = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Whi\xfftby"}}'
    assert [text for _, text in Blocks().texts_of(Event("x", data))] == ["Whi\ufffdtby"]


def test_a_reply_that_was_cut_is_read_up_to_there() -> None:
    assert reply_texts(b'{"content":[{"type":"text","text":"Whitby and Scarb') == ["Whitby and Scarb"]


def test_the_frame_is_all_before_the_text() -> None:
    event = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"Whit"}}'
    )
    found = FRAME.search(event)
    assert found is not None
    assert event[found.end() :] == b'Whit"}}'
