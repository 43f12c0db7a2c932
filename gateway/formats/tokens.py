"""Counts tokens with tiktoken's tables, which ship in `tables/`: nothing is downloaded.

Owns which encoding a model uses and how a count is cut into slices short enough for an event loop.
Building an encoding takes some 0.3 s, so the caller reads the file and builds it in a thread.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Final

import tiktoken

from gateway.formats.tally import last_seam

__all__ = ["ENCODINGS", "TiktokenCounter", "build_encoding", "counts_exactly", "encoding_name_for"]

ENCODINGS: Final = ("o200k_base", "cl100k_base")

# What tiktoken_ext/openai_public.py expects of the unpacked tables, its patterns and its special tokens.
_SHA256: Final = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
_PATTERN: Final = {
    "o200k_base": "|".join(
        (
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
            r"""\p{N}{1,3}""",
            r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
            r"""\s*[\r\n]+""",
            r"""\s+(?!\S)""",
            r"""\s+""",
        )
    ),
    "cl100k_base": (
        r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|"""
        r"""\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    ),
}
_SPECIAL: Final = {
    "o200k_base": {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    "cl100k_base": {
        "<|endoftext|>": 100257,
        "<|fim_prefix|>": 100258,
        "<|fim_middle|>": 100259,
        "<|fim_suffix|>": 100260,
        "<|endofprompt|>": 100276,
    },
}
# The models of tiktoken/model.py that do not use o200k_base.
_CL100K: Final = re.compile(r"(?:ft:)?(?:gpt-4(?![.o\d])|gpt-3\.?5|davinci-002|babbage-002|text-embedding-)")
_OPENAI: Final = re.compile(r"(?:ft:)?(?:gpt-|chatgpt-|o\d|codex-|text-embedding-|davinci-002|babbage-002)")

# Of the texts tried (100,000 circumflexes, 50,000 spaces, 100,000 Han characters), none takes more than
# 2 ms in slices of this many characters; ordinary text takes a quarter of a millisecond.
_SLICE_CHARS: Final = 4096


def encoding_name_for(model: str) -> str:
    """The encoding of a model's tokenizer; for other makers' models the nearest one there is."""
    return "cl100k_base" if _CL100K.match(_bare(model)) else "o200k_base"


def counts_exactly(model: str) -> bool:
    """Whether the model's own tokenizer is among ours; other makers' models are counted approximately."""
    return _OPENAI.match(_bare(model)) is not None


def _bare(model: str) -> str:
    return model.rpartition("/")[2]


def build_encoding(name: str, table: bytes) -> tiktoken.Encoding:
    """The encoding built from its gzip table. Raises ValueError where the table is not the original."""
    text = gzip.decompress(table)
    if hashlib.sha256(text).hexdigest() != _SHA256[name]:
        raise ValueError(f"the token table of {name} is damaged: its SHA-256 is not the published one")
    ranks = {b64decode(token): int(rank) for token, rank in (line.split() for line in text.splitlines())}
    return tiktoken.Encoding(
        name, pat_str=_PATTERN[name], mergeable_ranks=ranks, special_tokens=_SPECIAL[name]
    )


class TiktokenCounter:
    """Counts text as plain text: what looks like a special token is not one."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self._encoding = encoding

    def count(self, text: str) -> int:
        """Tokens of the whole text, however long that takes: long texts belong in a thread or in slices."""
        return sum(self.slices(text))

    def slices(self, text: str) -> Iterator[int]:
        """The counts of successive slices of the text; each step is short enough for an event loop.

        A slice ends where no token can cross, unless it has no such place: then its cut may add a token.
        """
        at = 0
        while at < len(text):
            piece = text[at : at + _SLICE_CHARS]
            if at + _SLICE_CHARS < len(text):
                piece = piece[: last_seam(piece) or _SLICE_CHARS]
            at += len(piece)
            yield len(self._encoding.encode_ordinary(piece))
