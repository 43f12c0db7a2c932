"""Token counts agree with tiktoken's own, and no step of a count is long."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import inspect
import re
from pathlib import Path

import pytest
import tiktoken
import tiktoken.model

from gateway.formats.tokens import (
    ENCODINGS,
    TiktokenCounter,
    build_encoding,
    counts_exactly,
    encoding_name_for,
)
from tests.formats.conftest import table_of

Counters = dict[str, TiktokenCounter]
Encodings = dict[str, tiktoken.Encoding]

PROSE = "The pilot came aboard at six; by nine we'd dropped anchor, 1,250 m off the pier.\n\n" * 300
HAN = "船長は港の灯台を見て静かに錨を下ろした。"


def test_the_shipped_tables_are_the_published_ones(encodings: Encodings) -> None:
    assert encodings["o200k_base"].n_vocab == 200_019
    assert encodings["cl100k_base"].n_vocab == 100_277
    # Numbers known from OpenAI's cookbook, "How to count tokens with tiktoken".
    assert len(encodings["o200k_base"].encode_ordinary("2 + 2 = 4")) == 7
    assert len(encodings["cl100k_base"].encode_ordinary("antidisestablishmentarianism")) == 6
    assert len(encodings["o200k_base"].encode_ordinary("お誕生日おめでとう")) == 8
    assert len(encodings["cl100k_base"].encode_ordinary("お誕生日おめでとう")) == 9


@pytest.mark.parametrize("name", ENCODINGS)
def test_tables_patterns_and_special_tokens_are_tiktokens_own(
    name: str, encodings: Encodings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tiktoken builds its encoding from our table: it finds it where it caches what it would download."""
    maker = getattr(importlib.import_module("tiktoken_ext.openai_public"), name)
    address = re.search(rf'"(\S+/{name}\.tiktoken)"', inspect.getsource(maker))
    assert address is not None
    cached = tmp_path / hashlib.sha1(address[1].encode()).hexdigest()
    cached.write_bytes(gzip.decompress(table_of(name)))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    theirs, ours = tiktoken.Encoding(**maker()), encodings[name]
    assert ours.n_vocab == theirs.n_vocab
    assert ours.special_tokens_set == theirs.special_tokens_set
    text = "It's THEY'LL don't  3.14159 e-mail:\r\n\r\n\t x//y ((z)) Ünïcode  \n end<|endofprompt|>" + HAN
    assert ours.encode(text, allowed_special="all") == theirs.encode(text, allowed_special="all")
    assert ours._pat_str == theirs._pat_str


def test_a_damaged_table_is_refused() -> None:
    damaged = gzip.compress(gzip.decompress(table_of("cl100k_base"))[:-2])
    with pytest.raises(ValueError, match="damaged"):
        build_encoding("cl100k_base", damaged)


def test_models_use_the_encoding_that_tiktoken_names() -> None:
    # The legacy ones (p50k, r50k, gpt2) do not ship; the open models' "harmony" is o200k with other
    # special tokens, which a count of text does not see.
    ours = {"o200k_base": "o200k_base", "o200k_harmony": "o200k_base", "cl100k_base": "cl100k_base"}
    prefixes = {prefix + "x": name for prefix, name in tiktoken.model.MODEL_PREFIX_TO_ENCODING.items()}
    for model, name in {**tiktoken.model.MODEL_TO_ENCODING, **prefixes}.items():
        if name in ours:
            assert encoding_name_for(model) == ours[name], model
            assert encoding_name_for(f"openai/{model}") == ours[name], model
            assert counts_exactly(model), model


@pytest.mark.parametrize("model", ["deepseek-v4-flash", "claude-sonnet-4-5", "gemini-2.5-flash", "llama-4"])
def test_other_makers_models_are_counted_approximately(model: str) -> None:
    assert encoding_name_for(model) == "o200k_base"
    assert not counts_exactly(model)


def test_newer_models_use_the_newer_encoding() -> None:
    for model in ("gpt-4.1", "gpt-4o-mini", "gpt-4.5-preview", "gpt-5.2", "gpt-6", "o3", "chatgpt-4o-latest"):
        assert encoding_name_for(model) == "o200k_base", model
        assert counts_exactly(model), model


@pytest.mark.parametrize("name", ENCODINGS)
def test_slices_add_up_to_the_whole(name: str, counters: Counters, encodings: Encodings) -> None:
    text = PROSE + " ".join(HAN for _ in range(100))
    steps = list(counters[name].slices(text))
    assert len(steps) > 5
    assert sum(steps) == counters[name].count(text) == len(encodings[name].encode_ordinary(text))


@pytest.mark.parametrize("name", ENCODINGS)
def test_text_without_a_seam_is_cut_anywhere_for_at_most_a_token_each(
    name: str, counters: Counters, encodings: Encodings
) -> None:
    for text in ("^" * 20_000, " " * 20_000, HAN * 1_000, "\n" * 20_000, "a" * 20_000):
        steps = list(counters[name].slices(text))
        whole = len(encodings[name].encode_ordinary(text))
        assert whole <= sum(steps) + len(steps)
        assert sum(steps) <= whole + len(steps)


def test_what_looks_like_a_special_token_is_counted_as_text(counters: Counters) -> None:
    assert counters["o200k_base"].count("<|endoftext|>") > 1


def test_a_lone_surrogate_is_counted(counters: Counters) -> None:
    assert counters["o200k_base"].count("a\ud83d b") >= 2
