"""Routing: from the model a caller names to the upstream, the price and the limits it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.domain.catalogue import Catalogue, ModelEntry
from gateway.domain.errors import NotFound, PriceMissing
from gateway.domain.prices import RateCard
from gateway.formats.tokens import counts_exactly
from gateway.gate.missing_prices import MissingPrices
from gateway.providers.base import Provider
from gateway.relay.calls import Target, Timeouts

__all__ = ["Plan", "Router", "Unpriced", "Upstream"]

NEWER_CAP_FIELD = "max_completion_tokens"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One URL with a credential of ours."""

    name: str
    provider: Provider
    target: Target
    host: str
    base_path: str
    credential_headers: tuple[tuple[bytes, bytes], ...]
    api_version: str | None
    prices_of: str
    timeouts: Timeouts
    drains: bool  # an abandoned answer is read to its end
    of: str = ""  # the provider it is one of several upstreams of; "" for a provider's own
    weight: int = 1
    priority: int = 0  # lower ones are used first


@dataclass(frozen=True, slots=True)
class Plan:
    """Where calls for one model go, what they cost and how far they may run.

    `model` is the catalogue's name, for budgets and reports; `upstream_model` is what the provider is sent.
    """

    upstream: Upstream
    model: str
    upstream_model: str
    card: RateCard
    context_window: int | None
    max_output: int | None
    cap_field: str
    counts_exactly: bool  # the model's own tokenizer is at hand
    flags: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        """The provider's name in the catalogue's sense: whose model it is in budgets and reports."""
        return self.upstream.of or self.upstream.name


@dataclass(frozen=True, slots=True)
class Unpriced:
    """The policy for models without a price: refuse, or go on with this card and flag the call."""

    refuses: bool
    card: RateCard


class Router:
    """Names and aliases to plans. Providers without a credential are off and not among `upstreams`."""

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        aliases: Mapping[str, str],
        unpriced: Unpriced,
        routes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`upstreams` in the order of the configuration; `aliases` map a name to another name; `routes` list
        where calls for a name go, each `upstream` or `upstream/model`."""
        self._upstreams = {upstream.name: upstream for upstream in upstreams if not upstream.of}
        self._all = {upstream.name: upstream for upstream in upstreams}
        self._routes = dict(routes or {})
        self._aliases = dict(aliases)
        self.unpriced = unpriced
        self.missing = MissingPrices()

    @property
    def upstreams(self) -> Sequence[Upstream]:
        """Each provider's own, in the order of the configuration."""
        return tuple(self._upstreams.values())

    def plans(self, catalogue: Catalogue, name: str, now_us: int) -> tuple[Plan, ...]:
        """Every way to serve a model: by its route, else at all upstreams of its provider."""
        if name in self._routes:
            return tuple(self._by_route(catalogue, name, each, now_us) for each in self._routes[name])
        plan = self.plan(catalogue, name, now_us)
        others = [each for each in self._all.values() if each.of == plan.upstream.name]
        return plan, *(replace(plan, upstream=each) for each in others)

    def _by_route(self, catalogue: Catalogue, name: str, stop: str, now_us: int) -> Plan:
        upstream, _, model = stop.partition("/")
        return self._at(catalogue, self._all[upstream], model or name, now_us)

    def plan(self, catalogue: Catalogue, name: str, now_us: int) -> Plan:
        """Resolve `provider/model`, an alias, or a bare name that a configured provider prices.

        Raises NotFound (`model_not_found`) and PriceMissing.
        """
        name = self._aliases.get(name, name)
        provider, _, model = name.partition("/")
        if not (model and provider in self._upstreams):
            alias = catalogue.alias_of(name)
            if alias is None or alias[0] not in self._upstreams:
                # An alias of a provider that is off may still be a model's own name elsewhere (Azure).
                return self._bare(catalogue, name, now_us)
            provider, model = alias
        return self._at(catalogue, self._upstreams[provider], model, now_us)

    def _bare(self, catalogue: Catalogue, name: str, now_us: int) -> Plan:
        for upstream in self._upstreams.values():
            entry = catalogue.resolve(upstream.prices_of, name)
            if entry is not None and entry.card.is_priced:
                return _plan(upstream, entry, name, now_us)
        raise _unknown(name, "no configured provider has a price for it")

    def _at(self, catalogue: Catalogue, upstream: Upstream, model: str, now_us: int) -> Plan:
        entry = catalogue.resolve(upstream.prices_of, model)
        if entry is not None and entry.card.is_priced:
            return _plan(upstream, entry, model, now_us)
        self.missing.note(upstream.prices_of, model)
        if self.unpriced.refuses:
            raise PriceMissing(
                "price_missing",
                f"The model {model!r} of {upstream.name} has no price.",
                hint=f"POST /admin/prices with provider {upstream.prices_of!r} and model {model!r}, "
                "or set prices.unpriced to 'ceiling' or 'flag'.",
                param="model",
            )
        return Plan(
            upstream=upstream,
            model=model,
            upstream_model=model,
            card=self.unpriced.card,
            context_window=None,
            max_output=None,
            cap_field=_cap_field(upstream, None),
            counts_exactly=counts_exactly(model),
            flags=("unpriced",),
        )


def _plan(upstream: Upstream, entry: ModelEntry, sent: str, now_us: int) -> Plan:
    limits = entry.limits_at(now_us)
    return Plan(
        upstream=upstream,
        model=entry.model,
        upstream_model=sent,
        card=entry.card,
        context_window=entry.context_window(now_us),
        max_output=limits.max_output if limits else None,
        cap_field=_cap_field(upstream, limits.cap_field if limits else None),
        counts_exactly=counts_exactly(entry.model),
    )


def _cap_field(upstream: Upstream, known: str | None) -> str:
    """The request field that caps a model's output.

    OpenAI takes the newer spelling for every model, and for its reasoning models no other. Azure may serve
    a model at an API version from before it; compatible servers are only sure to know the older one.
    """
    if upstream.provider.name == "openai":
        return NEWER_CAP_FIELD
    return known or (NEWER_CAP_FIELD if upstream.provider.name == "azure_openai" else "max_tokens")


def _unknown(name: str, why: str) -> NotFound:
    return NotFound(
        "model_not_found",
        f"The model {name[:200]!r} is not served: {why}.",
        hint="GET /v1/models lists what is served; POST /admin/prices makes a model known.",
        param="model",
    )
