"""From settings to upstreams and routes: which providers are on, where, and with which credentials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import gateway.providers
from gateway.domain.money import parse_price
from gateway.domain.prices import RateCard
from gateway.gate.plans import Unpriced, Upstream
from gateway.providers.base import Provider
from gateway.registry import scan
from gateway.relay.calls import Target, Timeouts
from gateway.settings import ProviderSettings, Settings, SettingsError

__all__ = ["connections", "routes", "unpriced", "upstreams"]


def upstreams(settings: Settings) -> list[Upstream]:
    """One upstream for each provider that has a credential, in the order of the configuration."""
    providers: dict[str, Provider] = scan(gateway.providers, "PROVIDER")
    found = []
    for name, given in settings.providers.items():
        if given.credential:
            provider = providers.get(name) or replace(providers["openai_compatible"], name=name, title=name)
            found.append(_upstream(name, provider, given))
    return [*found, *_more(settings, {each.name: each for each in found})]


def _more(settings: Settings, own: Mapping[str, Upstream]) -> Iterator[Upstream]:
    """The upstreams that stand beside a provider's own; what they leave out is as there."""
    for name, given in settings.upstreams.items():
        base = own.get(given.provider)
        if base is None or name in own:
            raise SettingsError(
                f"upstreams.{name} needs a provider that is on, and a name that no provider has;"
                f" providers on: {', '.join(own) or 'none'}"
            )
        target, path = Target.parse(given.base_url) if given.base_url else (base.target, base.base_path)
        headers = tuple(base.provider.authorize(given.credential)) if given.credential else None
        yield replace(
            base,
            name=name,
            of=base.name,
            target=target,
            host=target.authority,
            base_path=path,
            credential_headers=headers or base.credential_headers,
            api_version=given.api_version or base.api_version,
            weight=given.weight,
            priority=given.priority,
        )


def routes(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The configured routes; raise SettingsError for one that leads nowhere."""
    known = {*settings.upstreams, *(name for name, each in settings.providers.items() if each.credential)}
    for name, route in settings.routes.items():
        for stop in route.upstreams:
            if stop.partition("/")[0] not in known:
                raise SettingsError(
                    f"routes.{name}.upstreams names {stop!r}, which is no provider or upstream that is on;"
                    f" there are {', '.join(sorted(known)) or 'none'}"
                )
    return {name: route.upstreams for name, route in settings.routes.items() if route.upstreams}


def connections(settings: Settings) -> Mapping[Target, int]:
    """How many connections each target may have: providers that share one have theirs together."""
    found: Counter[Target] = Counter()
    for upstream in upstreams(settings):
        found[upstream.target] += settings.providers[upstream.of or upstream.name].max_connections
    return found


def _upstream(name: str, provider: Provider, given: ProviderSettings) -> Upstream:
    base_url = given.base_url or provider.base_url
    if not base_url:
        raise SettingsError(f"providers.{name}.base_url is missing: {provider.title} has no public address")
    target, path = Target.parse(base_url)
    return Upstream(
        name=name,
        provider=provider,
        target=target,
        host=target.authority,
        base_path=path,
        credential_headers=tuple(provider.authorize(given.credential)),
        api_version=given.api_version or None,
        prices_of=given.prices_of or name,
        timeouts=Timeouts(given.connect_timeout_s, given.first_byte_timeout_s, given.idle_timeout_s),
        drains=(given.on_abort or provider.on_abort) == "drain",
        weight=given.weight,
        priority=given.priority,
    )


def unpriced(settings: Settings) -> Unpriced:
    """What models without a price cost, by `prices.unpriced`."""
    policy = settings.prices.unpriced
    pico = parse_price(settings.prices.ceiling_usd_per_million) if policy == "ceiling" else 0
    return Unpriced(policy == "refuse", RateCard.flat("unpriced", pico))
