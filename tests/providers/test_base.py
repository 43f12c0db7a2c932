"""The contract that every provider in the registry keeps."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import cast

import pytest

from gateway import formats, providers
from gateway.domain.errors import BadRequest
from gateway.formats.base import Format
from gateway.providers.base import Provider, api_key_header, bearer, join_path
from gateway.registry import scan
from gateway.settings import load
from gateway.upstreams import upstreams

PROVIDERS = [cast(Provider, each) for each in scan(providers, "PROVIDER").values()]
# Two that are a section of the configuration each, and no code.
SECTIONS = """
[providers.mistral]
base_url = "https://api.mistral.ai/v1"
credential = "one"
[providers.groq]
base_url = "https://api.groq.com/openai/v1"
credential = "two"
"""


def configured() -> list[Provider]:
    """The providers that the sections add."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "gateway.toml")
        file.write_text(SECTIONS)
        return [each.provider for each in upstreams(load({}, str(file)))]


EVERY = [*PROVIDERS, *configured()]
each_provider = pytest.mark.parametrize("provider", EVERY, ids=lambda provider: provider.name)
FORMATS = cast(dict[str, Format], scan(formats, "FORMAT"))


def test_the_built_in_providers_are_there() -> None:
    names = {provider.name for provider in PROVIDERS}
    assert names == {"openai", "anthropic", "gemini", "deepseek", "azure_openai", "openai_compatible"}


@each_provider
def test_a_provider_is_well_formed(provider: Provider) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", provider.name)
    assert provider.title
    assert provider.base_url == "" or re.fullmatch(r"https://[a-z0-9./]+[a-z0-9]", provider.base_url)
    assert re.fullmatch(r"([A-Z]+_)*[A-Z]*", provider.credential_env)
    assert all(path.startswith("/") for path in provider.paths.values())


@each_provider
def test_a_provider_names_only_formats_that_exist(provider: Provider) -> None:
    assert set(provider.paths) <= set(scan(formats, "FORMAT"))


@each_provider
@pytest.mark.parametrize("model", ["m", "a/b", "../../x", "a?b#c", "größe", "a b", "a%2Fb", "a\r\nb"])
def test_no_model_changes_the_address(provider: Provider, model: str) -> None:
    """A call goes where its format's calls go: a name that callers choose is data there, or refused."""
    for name, template in provider.paths.items():
        path = provider.path(name, "/base", model, "2026-01-01")
        assert path.startswith("/base/")
        assert path.isascii()
        assert path.isprintable()
        assert " " not in path
        assert path.count("?") <= 1
        assert "#" not in path
        assert ".." not in path.split("/")
        fixed = template.rpartition("}")[2].partition("?")[0]
        assert path.partition("?")[0].endswith(fixed)


@each_provider
def test_what_a_provider_serves_has_one_dialect(provider: Provider) -> None:
    """Its own errors are relayed as they are, so they have to be in the words that the caller speaks."""
    assert len({FORMATS[name].dialect for name in provider.paths}) == 1


def test_providers_are_added_by_configuration_alone() -> None:
    assert [provider.name for provider in configured()] == ["mistral", "groq"]
    for provider in configured():
        assert provider.path("openai_chat", "/openai/v1", "m") == "/openai/v1/chat/completions"
        assert {"openai_chat", "openai_embeddings", "openai_responses"} <= set(provider.paths)


@each_provider
def test_the_credential_travels_in_one_header_of_lower_case(provider: Provider) -> None:
    [(name, value)] = provider.authorize("the-secret")
    assert name == name.lower()
    assert value.endswith(b"the-secret")


@each_provider
@pytest.mark.parametrize("credential", ["", " padded ", "two\r\nlines", "nul\0", "schlüssel"])
def test_a_credential_that_is_no_header_value_is_refused_without_showing_it(
    provider: Provider, credential: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        provider.authorize(credential)
    assert credential == "" or credential.strip() not in refused.value.message + refused.value.hint


@each_provider
@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_credential_is_never_the_clients(provider: Provider, status: int) -> None:
    refusal = provider.read_refusal(status, [], b'{"error":{"message":"no"}}')
    assert (refusal.blame, refusal.worth_it) == ("credential", False)


@each_provider
def test_headers_of_a_success_are_no_reason_to_retry(provider: Provider) -> None:
    refusal = provider.read_refusal(200, [(b"retry-after", b"20")], b"{}")
    assert (refusal.worth_it, refusal.after_s) == (False, None)


@each_provider
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"[1]", b'{"error":"text"}', b"\xff", b"[" * 100_000]
)
@pytest.mark.parametrize("status", [400, 429, 500])
def test_any_body_is_read_by_status_when_it_says_nothing(
    provider: Provider, status: int, body: bytes
) -> None:
    refusal = provider.read_refusal(status, [], body)
    assert refusal.blame == ("caller" if status == 400 else "provider")
    assert refusal.worth_it == (status != 400)


def test_bearer_and_key_headers() -> None:
    assert bearer("abc") == [(b"authorization", b"Bearer abc")]
    assert api_key_header(b"api-key")("abc") == [(b"api-key", b"abc")]


def test_a_model_in_a_path_is_percent_encoded() -> None:
    path = join_path("/v1beta", "/models/{model}:generateContent", "a/b ?#", None)
    assert path == "/v1beta/models/a%2Fb%20%3F%23:generateContent"
    assert join_path("", "/x", "m", "2024-10-21") == "/x?api-version=2024-10-21"
