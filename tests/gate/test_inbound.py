"""Inbound calls: which header carries the key, and what is refused before anybody is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import Unauthenticated
from gateway.domain.keys import fingerprint
from gateway.gate.inbound import asked_of_gateway, credential_of, fingerprint_of, header, reply_refusal
from tests.gate.making import KEY_TEXT


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"authorization", b"Bearer one")], "one"),
        ([(b"authorization", b"bearer  one ")], "one"),
        ([(b"x-api-key", b"two")], "two"),
        ([(b"x-goog-api-key", b" three ")], "three"),
        ([(b"api-key", b"four")], "four"),
        ([(b"api-key", b"four"), (b"authorization", b"Bearer one")], "one"),
        ([(b"authorization", b"Basic x"), (b"api-key", b"four")], "four"),
        ([(b"authorization", b"Bearer one"), (b"authorization", b"Bearer two")], "one"),
        ([(b"authorization", b"Bearer \xff")], "\xff"),
    ],
)
def test_the_key_is_where_each_sdk_puts_it(headers: list[tuple[bytes, bytes]], found: str) -> None:
    assert credential_of(headers) == found


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Basic x")], [(b"cookie", b"key=x")]])
def test_no_key_is_said_to_be_missing(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Unauthenticated, match="No API key"):
        credential_of(headers)


def test_a_checksum_refuses_what_cannot_be_a_key() -> None:
    assert fingerprint_of(KEY_TEXT) == fingerprint(KEY_TEXT)
    for text in ("", "garbage", KEY_TEXT[:-1], KEY_TEXT + "a", KEY_TEXT.upper(), "sk-proj-1"):
        with pytest.raises(Unauthenticated, match="checksum") as raised:
            fingerprint_of(text)
        assert not text or text not in raised.value.message


def test_the_first_header_of_a_name_counts() -> None:
    headers = [(b"x-tollgate-tags", b"a=1"), (b"accept", b"x"), (b"x-tollgate-tags", b"a=2")]
    assert header(headers, b"x-tollgate-tags") == b"a=1"
    assert header(headers, b"x-tollgate") is None
    assert asked_of_gateway(headers) == {b"x-tollgate-tags": b"a=1"}


class Told:
    """A downstream that keeps a whole answer; a refusal is nothing else."""

    def reply(self, status: int, headers: Any, body: bytes) -> None:
        self.answer = (status, dict(headers), body)

    def start(self, status: int, headers: Any) -> None:
        raise AssertionError

    def write(self, data: bytes) -> None:
        raise AssertionError

    def end(self, data: bytes) -> None:
        raise AssertionError

    def abort(self) -> None:
        raise AssertionError


def test_a_refusal_has_the_callers_dialect_and_what_goes_with_it() -> None:
    told = Told()
    error = Unauthenticated("invalid_api_key", "No.", hint="Yes.")
    reply_refusal(told, error, "anthropic", [(b"x-tollgate-call-id", b"call_1")])
    status, headers, body = told.answer
    assert (status, headers[b"x-tollgate-call-id"], headers[b"x-should-retry"]) == (401, b"call_1", b"false")
    assert json.loads(body)["type"] == "error"
