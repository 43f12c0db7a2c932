"""What an answer tells that was left at the provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.formats.openai_responses import FORMAT


def made(**members: Any) -> tuple[str, ...]:
    return FORMAT.made(json.dumps({"id": "resp_1", "object": "response", **members}).encode())


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ("resp_1",)),
        ({"store": True}, ("resp_1",)),
        ({"store": False}, ()),
        ({"store": False, "background": True}, ("resp_1",)),  # which can be looked up while it runs
        ({"conversation": {"id": "conv_1"}}, ("resp_1", "conv_1")),
        ({"output": [{"type": "message", "id": "msg_1"}]}, ("resp_1", "msg_1")),
        ({"store": False, "output": [{"type": "message", "id": "msg_1"}]}, ()),
        (
            {"output": [{"type": "code_interpreter_call", "id": "ci_1", "container_id": "cntr_1"}]},
            ("resp_1", "ci_1", "cntr_1"),
        ),
        (
            {"store": False, "output": [{"type": "shell_call", "environment": {"container_id": "cntr_1"}}]},
            ("cntr_1",),
        ),
        ({"metadata": {"id": "file_1"}, "tools": [{"vector_store_ids": ["vs_1"]}]}, ("resp_1",)),
    ],
)
def test_what_stands_where_the_provider_puts_it(members: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert made(**members) == expected


@pytest.mark.parametrize(
    ("kind", "kept"), [("container_file_citation", ("cfile_1", "cntr_1")), ("file_citation", ())]
)
def test_files_that_code_wrote_are_cited(kind: str, kept: tuple[str, ...]) -> None:
    note = {"type": kind, "file_id": "cfile_1", "container_id": "cntr_1"}
    part = {"type": "output_text", "text": "x", "annotations": [note]}
    assert made(store=False, output=[{"type": "message", "content": [part]}]) == kept


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b'{"id":5,"output":{"id":"x"}}', b'{"output":[5,{"id":7}]}']
)
def test_what_is_no_answer_left_nothing(body: bytes) -> None:
    assert FORMAT.made(body) == ()
