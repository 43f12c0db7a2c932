"""What a message tells that was left at Anthropic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.formats.anthropic_made import reply_made


def made(**message: Any) -> tuple[str, ...]:
    return reply_made(json.dumps({"type": "message", **message}).encode())


@pytest.mark.parametrize("kind", ["code_execution", "bash_code_execution", "text_editor_code_execution"])
def test_the_container_and_the_files_that_code_wrote(kind: str) -> None:
    result = {"type": f"{kind}_result", "content": [{"type": f"{kind}_output", "file_id": "file_1"}]}
    block = {"type": f"{kind}_tool_result", "content": result}
    assert made(container={"id": "container_1"}, content=[block]) == ("container_1", "file_1")


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "input": {"file_id": "file_1"}},
        {"type": "mcp_tool_result", "content": [{"file_id": "file_1"}]},
        {"type": "text", "text": '"file_id":"file_1"'},
        {"type": "code_execution_tool_result", "content": "an error"},
    ],
)
def test_what_anybody_could_have_said_is_not_believed(block: dict[str, Any]) -> None:
    assert made(content=[block]) == ()


def test_what_is_no_message_left_nothing() -> None:
    assert reply_made(b"<html>") == ()
    assert made(container="c", content="x") == ()
