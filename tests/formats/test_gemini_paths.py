"""Which format an address belongs to, and which model it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.formats
from gateway.domain.errors import BadRequest
from gateway.formats.gemini_paths import model_of, resource_of, template_of
from gateway.providers.gemini import PROVIDER
from gateway.registry import scan

GEMINI = {name: each for name, each in scan(gateway.formats, "FORMAT").items() if each.dialect == "gemini"}


def format_at(target: str) -> str | None:
    by_path = {path.encode(): name for name, each in GEMINI.items() for path in each.paths}
    return by_path.get(template_of(target.encode()) or b"")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini_generate"),
        ("/v1beta/models/gemini-2.5-flash:generateContent?key=sk-tg-1&fields=candidates", "gemini_generate"),
        ("/v1beta/tunedModels/tides:generateContent", "gemini_generate"),
        ("/v1beta/models/gemini%2Fgemini-2.5-flash%3AgenerateContent", "gemini_generate"),
        ("/v1beta/models/gemini/gemini-2.5-flash:generateContent", "gemini_generate"),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", "gemini_stream"),
        ("/v1beta/models/m:streamGenerateContent?key=x&%24alt=sse", "gemini_stream"),
        ("/v1beta/models/m:streamGenerateContent?alt=json&alt=sse", "gemini_stream"),
        ("/v1beta/models/m:streamGenerateContent?alt=sse&alt=json", "gemini_stream_array"),
        ("/v1beta/models/m:streamGenerateContent", "gemini_stream_array"),
        ("/v1beta/models/m:streamGenerateContent?salt=sse", "gemini_stream_array"),
        ("/v1beta/models/m:generateContent?alt=sse", "gemini_generate"),
        ("/v1beta/models/m:countTokens", "gemini_count_tokens"),
        ("/v1beta/models/m:embedContent", "gemini_embed"),
        ("/v1beta/models/m:batchEmbedContents", "gemini_batch_embed"),
        ("/v1beta/models/m:predict", None),
        ("/v1beta/models/m:generateContentX", None),
        ("/v1beta/models/:generateContent", None),
        ("/v1beta/models", None),
        ("/v1beta/models/m", None),
        ("/v1beta/cachedContents/c:generateContent", None),
        ("/v1/models/m:generateContent", "gemini_generate"),
        ("/v2/models/m:generateContent", None),
        ("/v1/chat/completions", None),
    ],
)
def test_an_address_finds_its_format(target: str, name: str | None) -> None:
    assert format_at(target) == name


@given(st.binary(max_size=40))
def test_any_target_has_an_answer(target: bytes) -> None:
    template_of(target)
    template_of(b"/v1beta/models/" + target + b":generateContent")


def test_every_format_is_served_by_the_provider() -> None:
    assert GEMINI.keys() == PROVIDER.paths.keys()


@pytest.mark.parametrize(
    ("path", "named", "model"),
    [
        ("/v1beta/models/gemini-2.5-flash:countTokens", None, "gemini-2.5-flash"),
        ("/v1beta/models/gemini-2.5-flash:countTokens", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("/v1beta/models/gemini-2.5-flash:countTokens", "gemini-2.5-flash", "gemini-2.5-flash"),
        ("/v1beta/models/models%2Fgemini-2.5-flash:countTokens", None, "gemini-2.5-flash"),
        ("/v1beta/models/gemini%2fgemini-2.5-flash:countTokens", None, "gemini/gemini-2.5-flash"),
        ("/v1beta/models/a:free:countTokens", None, "a:free"),
        ("/v1beta/models/gemini-pro@001%3AcountTokens", None, "gemini-pro@001"),
        ("/v1beta/tunedModels/tides-7:countTokens", "tunedModels/tides-7", "tunedModels/tides-7"),
        ("/v1beta/models/{model}:countTokens", "models/gemini-2.5-flash", "gemini-2.5-flash"),
    ],
)
def test_the_model_is_in_the_path(path: str, named: str | None, model: str) -> None:
    assert model_of(path, named) == model


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1beta/models/gemini-2.5-flash:countTokens", "models/gemini-2.5-pro"),
        ("/v1beta/models/tides:countTokens", "tunedModels/tides"),
        ("/v1beta/models/a%00b:countTokens", None),
        ("/v1beta/models/a%0Ab:countTokens", None),
        (f"/v1beta/models/{'x' * 257}:countTokens", None),
        ("/v1beta/models/models%2F:countTokens", None),
        ("/v1beta/models/{model}:countTokens", None),
    ],
)
def test_an_address_that_names_none_is_refused(path: str, named: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        model_of(path, named)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "model")


def test_resources_have_their_full_names() -> None:
    assert resource_of("gemini-2.5-flash") == "models/gemini-2.5-flash"
    assert resource_of("tunedModels/tides") == "tunedModels/tides"
