"""Bodies that are none are refused by name; bodies that are some are left alone."""

from __future__ import annotations

import msgspec
import pytest

from gateway.domain.errors import BadRequest
from gateway.formats.bodies import open_body, refuse_control


class Shape(msgspec.Struct):
    model: str
    n: int | None = None
    parts: list[int] | None = None


SHAPE = msgspec.json.Decoder(Shape)
UNIQUE = frozenset(("model", "n"))


def refusal(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        open_body(body, SHAPE, UNIQUE)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model":"m"',
        b'{"model":"m"}}',
        b"model=m",
        b'{"model":"m\x00"}',
        b'{"model":"m","x":"\x01"}',
        b'{"model":"m","x":"\xff"}',
        b'{"\xfe":1,"model":"m"}',
        b"\xef\xbb\xbf" + b'{"model":"m"}',
        b'{"model":"\\ud800"}',
        b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","x":' + b'{"a":' * 100_000,
        b'{"model":"m","x":01}',
        b'{"model":"m","x":NaN}',
        b"{'model':'m'}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_cannot_be_read_is_invalid_json(body: bytes) -> None:
    error = refusal(body)
    assert (error.code, error.param) == ("invalid_json", None)
    assert error.hint


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b'"m"', None),
        (b"null", None),
        (b"{}", "model"),
        (b'{"n":1}', "model"),
        (b'{"model":1}', "model"),
        (b'{"model":"m","n":"1"}', "n"),
        (b'{"model":"m","n":1.5}', "n"),
        (b'{"model":"m","n":true}', "n"),
        (b'{"model":"m","parts":[1,"2"]}', "parts[1]"),
        (b'{"model":"m","model":"m"}', "model"),
        (b'{"model":"m","\\u006dodel":"x"}', "model"),
        (b'{"model":"m","Model":"x"}', "Model"),
        (b'{"model":"m","N":2}', "N"),
    ],
)
def test_what_has_another_shape_is_an_invalid_value_by_name(body: bytes, param: str | None) -> None:
    error = refusal(body)
    assert (error.code, error.param) == ("invalid_value", param)
    assert error.hint
    assert param is None or f"`{param}`" in error.message


def test_a_repeated_key_that_cannot_be_stepped_over_is_refused() -> None:
    deep = b"[" * 60 + b"]" * 60
    assert refusal(b'{"model":"m","x":' + deep + b',"x":1}').code == "invalid_value"


def test_unknown_members_may_repeat_and_hold_anything() -> None:
    body = b'{"x":{"a":[1]},"model":"m","x":"\\u0000","X":1e999,"parts":[1,2]}'
    shape, members = open_body(body, SHAPE, UNIQUE)
    assert shape == Shape(model="m", parts=[1, 2])
    assert [member.key for member in members] == ["x", "model", "x", "X", "parts"]


def test_names_with_control_characters_are_refused() -> None:
    refuse_control("größe 港", "user")
    refuse_control(None, "user")
    for name in ("a\x00", "a\nb", "\u2028", "\x7f"):
        with pytest.raises(BadRequest, match="`user`"):
            refuse_control(name, "user")
