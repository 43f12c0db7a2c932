"""The shipped tokenizers, built once: a build takes a third of a second."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiktoken

from gateway import formats
from gateway.formats.tokens import ENCODINGS, TiktokenCounter, build_encoding


def table_of(name: str) -> bytes:
    """The shipped gzip table of an encoding."""
    return (Path(formats.__file__).parent / "tables" / f"{name}.tiktoken.gz").read_bytes()


@pytest.fixture(scope="session")
def encodings() -> dict[str, tiktoken.Encoding]:
    """Every shipped encoding by its name."""
    return {name: build_encoding(name, table_of(name)) for name in ENCODINGS}


@pytest.fixture(scope="session")
def counters(encodings: dict[str, tiktoken.Encoding]) -> dict[str, TiktokenCounter]:
    """A counter for every shipped encoding."""
    return {name: TiktokenCounter(encoding) for name, encoding in encodings.items()}
