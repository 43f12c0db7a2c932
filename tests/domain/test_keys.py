"""Keys: minted in one shape, refused by checksum, shown only masked."""

from __future__ import annotations

import hashlib
import re
import string
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.errors import BadRequest
from gateway.domain.keys import check_admin_key, fingerprint, hint, masked, mint, mint_admin, parse

DIGITS = string.digits + string.ascii_letters
random32 = st.binary(min_size=32, max_size=32)
KEY = mint(bytes(range(32)))


@given(random_bytes=random32)
@example(random_bytes=bytes(32))
@example(random_bytes=b"\xff" * 32)
def test_a_minted_key_is_accepted(random_bytes: bytes) -> None:
    key = mint(random_bytes)
    assert re.fullmatch(r"sk-tg-[0-9A-Za-z]{49}", key)
    parsed = parse(key)
    assert parsed is not None
    assert parsed.text == key
    assert parsed.fingerprint == fingerprint(key) == hashlib.sha256(key.encode()).digest()
    assert parsed.hint == f"sk-tg-...{key[-4:]}"


@given(one=random32, other=random32)
def test_keys_keep_all_256_bits(one: bytes, other: bytes) -> None:
    assert (mint(one) == mint(other)) == (one == other)


@given(random_bytes=random32, at=st.integers(0, 54), put=st.sampled_from(DIGITS))
def test_one_wrong_character_is_noticed(random_bytes: bytes, at: int, put: str) -> None:
    key = mint(random_bytes)
    wrong = key[:at] + put + key[at + 1 :]
    assert (parse(wrong) is None) == (wrong != key)


@given(random_bytes=random32, at=st.integers(6, 53))
def test_two_characters_swapped_are_noticed(random_bytes: bytes, at: int) -> None:
    key = mint(random_bytes)
    wrong = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert (parse(wrong) is None) == (wrong != key)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "sk-tg-",
            KEY[:-1],
            KEY + "0",
            KEY + "\n",
            " " + KEY,
            KEY.upper(),
            KEY.replace("sk-tg-", "sk-tx-"),
        ),
        *("sk-" + "a" * 48, mint_admin(bytes(32)), "sk-tg-" + "٣" * 49, "sk-tg-" + "\ud800" * 49),
        "sk-tg-" + "z" * 43 + "000000",
    ],
)
def test_text_that_was_never_minted_is_refused(text: str) -> None:
    assert parse(text) is None


def test_a_body_beyond_256_bits_is_refused_though_its_checksum_fits() -> None:
    assert parse(_with_checksum("sk-tg-" + "z" * 43)) is None
    assert parse(_with_checksum(KEY[:-6])) is not None


def _with_checksum(unsigned: str) -> str:
    number, digits = zlib.crc32(unsigned.encode()), ""
    order = string.digits + string.ascii_uppercase + string.ascii_lowercase
    for _ in range(6):
        number, low = divmod(number, 62)
        digits = order[low] + digits
    return unsigned + digits


@given(text=st.text(st.characters(), max_size=80))
@example(text="\ud800" * 20)
def test_no_text_crashes_parsing_or_fingerprinting(text: str) -> None:
    parse(text)
    assert len(fingerprint(text)) == 32


def test_a_parsed_key_does_not_print_itself() -> None:
    assert KEY[6:] not in repr(parse(KEY))


@given(random_bytes=random32)
def test_an_admin_key_has_the_same_strength_and_its_own_prefix(random_bytes: bytes) -> None:
    key = mint_admin(random_bytes)
    assert re.fullmatch(r"tg-admin-[0-9A-Za-z]{49}", key)
    assert hint(key) == f"tg-admin-...{key[-4:]}"
    assert check_admin_key(key) == key
    assert parse(key) is None


@given(secret=st.text(st.characters(), max_size=100))
@example(secret="sk-tg-" + "a" * 10)
@example(secret="\r\nForged: 1" * 4)
def test_masking_shows_a_prefix_and_at_most_four_printable_characters(secret: str) -> None:
    shown = masked(secret)
    match = re.fullmatch(r"(sk-tg-|tg-admin-|)\.\.\.([!-~]{4})?", shown)
    assert match is not None
    prefix, end = match.groups()
    assert secret.startswith(prefix)
    assert end is None or len(secret) - len(prefix) >= 16


def test_short_secrets_show_nothing() -> None:
    assert masked("hunter2") == "..."
    assert masked("0123456789abcdef") == "...cdef"


@pytest.mark.parametrize("text", ["a" * 16, "correct horse battery staple", "schlüssel-aus-köln", "a" * 512])
def test_an_admin_key_may_be_any_long_text(text: str) -> None:
    assert check_admin_key(text) == text


@pytest.mark.parametrize(
    "text", ["", "a" * 15, "a" * 513, "a" * 16 + "\n", " " + "a" * 16, "aaaaaaaa\0aaaaaaaaa"]
)
def test_an_admin_key_that_no_header_carries_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_admin_key(text, param="TOLLGATE_ADMIN_KEY")
    assert refusal.value.param == "TOLLGATE_ADMIN_KEY"
    assert "16" in refusal.value.hint
    assert "aaaa" not in refusal.value.message
