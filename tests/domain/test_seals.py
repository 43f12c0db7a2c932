"""Seals: read again with the right text, and with nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.seals import seal, unseal


@given(content=st.binary(max_size=500), text=st.text(), context=st.text())
def test_what_is_sealed_is_read_again(content: bytes, text: str, context: str) -> None:
    sealed = seal(content, text, context)
    assert len(sealed) == len(content)
    assert unseal(sealed, text, context) == content


@given(content=st.binary(min_size=32, max_size=200))
def test_another_text_or_context_reads_nothing(content: bytes) -> None:
    sealed = seal(content, "key", "once")
    assert sealed != content
    assert unseal(sealed, "kez", "once") != content
    assert unseal(sealed, "key", "twice") != content
    # Where the text ends is part of it.
    assert seal(content, "ab", "c") != seal(content, "a", "bc")


def test_zeros_do_not_show_through() -> None:
    sealed = seal(bytes(64), "key", "once")
    assert len(set(sealed)) > 32
