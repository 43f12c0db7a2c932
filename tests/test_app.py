"""What the composition root makes of settings."""

from __future__ import annotations

from gateway.relay.calls import Target
from gateway.settings import load
from gateway.upstreams import connections


def test_providers_that_share_a_target_have_their_connections_together() -> None:
    environ = {
        "TOLLGATE_PROVIDERS__OPENAI__CREDENTIAL": "x",
        "TOLLGATE_PROVIDERS__OPENAI__MAX_CONNECTIONS": "7",
        "TOLLGATE_PROVIDERS__OTHER__CREDENTIAL": "x",
        "TOLLGATE_PROVIDERS__OTHER__BASE_URL": "https://api.openai.com/other",
        "TOLLGATE_PROVIDERS__OTHER__MAX_CONNECTIONS": "5",
        "TOLLGATE_PROVIDERS__DEEPSEEK__CREDENTIAL": "x",
    }
    found = connections(load(environ, None))
    assert found[Target("https", "api.openai.com", 443)] == 12
    assert sorted(found.values()) == [12, 2000]
