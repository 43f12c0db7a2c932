from __future__ import annotations

import pytest

from gateway.domain.errors import BadRequest
from gateway.relay.calls import Target


@pytest.mark.parametrize(
    ("url", "target", "path", "authority"),
    [
        ("https://api.openai.com/v1", Target("https", "api.openai.com", 443), "/v1", "api.openai.com"),
        ("https://api.openai.com/v1/", Target("https", "api.openai.com", 443), "/v1", "api.openai.com"),
        ("http://LOCALHOST:8000", Target("http", "localhost", 8000), "", "localhost:8000"),
        ("http://[::1]:9/x", Target("http", "::1", 9), "/x", "[::1]:9"),
        ("https://h:80", Target("https", "h", 80), "", "h:80"),
    ],
)
def test_a_base_url(url: str, target: Target, path: str, authority: str) -> None:
    assert Target.parse(url) == (target, path)
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://h/",
        "https://",
        "https://user:secret@h/v1",
        "https://h/v1?key=1",
        "https://h/#x",
        "https://h:port/",
        "https://h:99999/",
        "https://[::1/",
        "https://ü.example/",
    ],
)
def test_what_is_no_base_url(url: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Target.parse(url)
    assert "secret" not in refused.value.message
