"""Anthropic's streams: what waits, what is kept, what is left behind, and how one is ended."""

from __future__ import annotations

import json
from typing import Any

from gateway.domain.errors import UpstreamFailed
from gateway.formats.anthropic_meter import AnthropicMeter
from gateway.formats.base import Intent
from tests.formats.playing import any_intent


def event(kind: str, **members: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **members}, separators=(',', ':'))}\n\n".encode()


USAGE = {"input_tokens": 20, "output_tokens": 1}
START = event("message_start", message={"id": "msg_1", "model": "claude-sonnet-5", "usage": USAGE})
OPEN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Whitby"})
CLOSE = event("content_block_stop", index=0)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9})
STOP = event("message_stop")
LOOPING = any_intent(loops=5)


def metered(*events: bytes, intent: Intent | None = None) -> AnthropicMeter:
    meter = AnthropicMeter(intent or any_intent())
    for each in events:
        meter.feed(each)
    return meter


def test_the_last_usage_and_the_end_wait_for_the_close_record() -> None:
    meter = AnthropicMeter(any_intent())
    assert meter.feed(START + OPEN + DELTA) == START + OPEN + DELTA
    assert meter.feed(END) == b""
    assert meter.feed(STOP) == b""
    assert meter.ended
    assert meter.finish() == END + STOP


def test_the_delta_takes_the_place_of_the_start_field_by_field() -> None:
    report = metered(START, DELTA, END).report
    assert report is not None
    assert report.usage == {"input": 20, "output": 9}


def test_a_container_and_its_files_are_left_behind() -> None:
    written = {"type": "bash_code_execution_output", "file_id": "file_1"}
    result = {"type": "bash_code_execution_result", "content": [written]}
    block = {"type": "bash_code_execution_tool_result", "content": result}
    told = event("content_block_start", index=1, content_block=block)
    end = event("message_delta", delta={"container": {"id": "container_1"}}, usage={"output_tokens": 9})
    meter = metered(START, DELTA, told, end, intent=LOOPING)
    assert meter.made == ("file_1", "container_1")
    assert metered(START, told + end, intent=LOOPING).made == ("file_1", "container_1")


def test_what_a_model_says_of_files_is_not_believed() -> None:
    """The input of a call is what the model was asked to write."""
    block = {"type": "tool_use", "name": "x", "input": {"file_id": "file_of_another"}}
    told = event("content_block_start", index=1, content_block=block)
    meter = metered(START, told, END, STOP, intent=LOOPING)
    assert meter.made == ()


def test_a_cut_closes_what_is_open() -> None:
    meter = metered(START, OPEN, DELTA)
    end = meter.cut({"input": 20, "output": 5})
    kinds = [line.removeprefix("event: ") for line in end.decode().splitlines() if line.startswith("event")]
    assert kinds == ["content_block_stop", "message_delta", "message_stop"]
    assert b'"stop_reason":"max_tokens"' in end
    assert b'"output_tokens":5' in end


def test_a_cut_of_nothing_is_a_whole_message() -> None:
    assert AnthropicMeter(any_intent()).cut().startswith(b"event: message_start\n")


def test_an_error_of_ours_follows_what_is_whole() -> None:
    meter = metered(START, OPEN, DELTA[:30])
    error = UpstreamFailed("upstream_unavailable", "It went away.", hint="Try again.")
    end = meter.fail(meter.finish(), error)
    assert end.startswith(b'event: error\ndata: {"type":"error","error":{"type":"api_error"')


def test_a_loop_that_broke_off_is_known_in_part() -> None:
    report = metered(START, DELTA, intent=LOOPING).report
    assert report is not None
    assert "input of the first turn only" in report.unknown
