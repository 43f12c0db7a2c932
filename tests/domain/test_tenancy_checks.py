"""What can be kept and shown of accounts and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.domain.tenancy_checks import (
    METADATA_MAX_CHARACTERS,
    check_account_name,
    check_instant,
    check_label,
    check_metadata,
)


@pytest.mark.parametrize("name", ["a", "Équipe 7", "检索", "x" * 255, "a.b_c-d:e", "naïve @ home"])
def test_names_that_can_be_shown(name: str) -> None:
    check_account_name(name)


@pytest.mark.parametrize(
    "name", ["", "x" * 256, " a", "a ", "a\n", "a\u0000b", "a\u200bb", "a\u2028b", "\ud800", "a/b", "\u202eb"]
)
def test_names_that_cannot(name: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_account_name(name)
    assert refusal.value.param == "name"
    assert refusal.value.hint
    assert refusal.value.message.isprintable()


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda value: check_label(value, param="kind"), "a\r\nb"),
        (check_metadata, {"a": "x" * METADATA_MAX_CHARACTERS}),
        (lambda value: check_instant(value, 5, param="expires_at"), 5),
    ],
)
def test_others_are_named(check: Callable[[Any], None], value: Any) -> None:
    with pytest.raises(BadRequest):
        check(value)


def test_what_is_within_its_bound_passes() -> None:
    check_metadata({"a": ["b", {"c": None}]})
    check_instant(6, 5, param="expires_at")
