from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.providers.refusals import Refusal, error_of, header, read_status, seconds


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Refusal("caller", False)),
        (404, Refusal("caller", False)),
        (408, Refusal("provider", True)),
        (409, Refusal("provider", True)),
        (422, Refusal("caller", False)),
        (429, Refusal("provider", True)),
        (500, Refusal("provider", True)),
        (529, Refusal("provider", True)),
    ],
)
def test_the_status_alone(status: int, expected: Refusal) -> None:
    assert read_status(status, [], b"") == expected


def test_the_providers_advice_wins_over_the_status() -> None:
    assert not read_status(500, [(b"x-should-retry", b"false")], b"").worth_it
    assert read_status(400, [(b"x-should-retry", b"true")], b"").worth_it
    assert read_status(500, [(b"x-should-retry", b"perhaps")], b"").worth_it


@pytest.mark.parametrize(
    ("headers", "after_s"),
    [
        ([(b"retry-after", b"20")], 20.0),
        ([(b"retry-after", b" 1.5 ")], 1.5),
        ([(b"retry-after-ms", b"174"), (b"retry-after", b"20")], 0.174),
        ([(b"retry-after-ms", b"soon"), (b"retry-after", b"20")], 20.0),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"1e9")], None),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:30 GMT")], None),
        (
            [
                (b"date", b"Wed, 21 Oct 2026 07:28:00 GMT"),
                (b"retry-after", b"Wed, 21 Oct 2026 07:28:30 GMT"),
            ],
            30.0,
        ),
        (
            [
                (b"date", b"Wed, 21 Oct 2026 07:28:30 GMT"),
                (b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT"),
            ],
            0.0,
        ),
        ([(b"date", b"Wed, 21 Oct 2026 07:28:30"), (b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], None),
    ],
)
def test_how_long_to_wait(headers: list[tuple[bytes, bytes]], after_s: float | None) -> None:
    assert read_status(503, headers, b"").after_s == after_s


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("174ms", 0.174),
        ("34.4s", 34.4),
        ("48s", 48.0),
        ("1m30s", 90.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("2m", 120.0),
        ("", None),
        ("soon", None),
        ("5", None),
        ("-5s", None),
    ],
)
def test_go_durations(duration: str, expected: float | None) -> None:
    assert seconds(duration) == expected


@given(st.binary(max_size=200), st.binary(max_size=60), st.integers(100, 999))
def test_nothing_a_provider_sends_is_an_exception(body: bytes, value: bytes, status: int) -> None:
    read_status(status, [(b"retry-after", value), (b"date", value), (b"retry-after-ms", value)], body)
    error_of(body)
    seconds(value.decode("latin-1"))


def test_the_error_object_is_found_where_providers_put_it() -> None:
    assert error_of(b'{"error":{"code":429}}') == {"code": 429}
    assert error_of(b'[{"error":{"code":429}}]') == {"code": 429}
    assert error_of(b'{"error":{"code":429},"pad":"%b"}' % (b"x" * 300_000)) == {}


def test_header_takes_the_first() -> None:
    assert header([(b"a", b"1"), (b"a", b"2")], b"a") == b"1"
    assert header([], b"a") is None
