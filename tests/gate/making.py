"""What gate tests are made of: a small catalogue with round prices, providers, keys, budgets, a desk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gateway.formats
import gateway.formats.translation
from gateway.domain.budgets import Budget
from gateway.domain.catalogue import Catalogue, ModelLimits, ModelRecord
from gateway.domain.keys import fingerprint, mint
from gateway.domain.names import NameGate
from gateway.domain.prices import PriceRow, RateCard, with_id
from gateway.domain.tenancy import Account, VirtualKey
from gateway.formats.openai_chat import FORMAT
from gateway.formats.translation.base import Translations
from gateway.gate.admission import Desk, Limits, Offer
from gateway.gate.breakers import BreakerPolicy, Breakers
from gateway.gate.directory import Caller, Directory
from gateway.gate.inbound import InboundCall
from gateway.gate.plans import Router, Unpriced, Upstream
from gateway.providers import azure_openai, deepseek, openai, openai_compatible
from gateway.providers.base import Provider
from gateway.registry import scan
from gateway.relay.calls import Target, Timeouts

__all__ = [
    "ACCOUNT",
    "KEY_TEXT",
    "NOON_US",
    "Known",
    "Lefts",
    "account",
    "budget",
    "caller",
    "catalogue",
    "chat",
    "desk",
    "inbound",
    "key",
    "offer",
    "upstream",
]

FORMATS = scan(gateway.formats, "FORMAT")
TRANSLATIONS = tuple(scan(gateway.formats.translation, "TRANSLATION").values())
NOON_US = 1_795_608_000_000_000  # 2026-11-25T12:00:00Z
ACCOUNT = "acct_team"
KEY_TEXT = mint(bytes(range(32)))

# Model to (USD per million input tokens, output tokens, largest output, context window).
MODELS: Mapping[tuple[str, str], tuple[int, int, int | None, int | None]] = {
    ("openai", "gpt-4.1"): (2, 8, 32_768, 1_000_000),
    ("openai", "gpt-4o-mini"): (1, 4, 16_384, 128_000),
    ("openai", "gpt-5"): (3, 12, 128_000, 400_000),
    ("openai", "mystery"): (1, 1, None, None),
    ("deepseek", "deepseek-v3.2"): (1, 2, 8_192, 128_000),
}


def catalogue(*more: PriceRow, aliases: Mapping[str, str] | None = None) -> Catalogue:
    """The models above, and whatever prices a test adds."""
    prices: list[PriceRow] = []
    for (provider, model), (into, out, _, _) in MODELS.items():
        for meter, usd in (("input", into), ("output", out)):
            prices.append(with_id(PriceRow("", provider, model, meter, usd * 1_000_000)))
    names = dict.fromkeys([*MODELS, *((row.provider, row.model) for row in more)])
    records = [
        ModelRecord(provider, model, {"equals": model}, position, None, "test")
        for position, (provider, model) in enumerate(names)
    ]
    limits = [
        ModelLimits(provider, model, 0, window, most, "max_tokens", "test")
        for (provider, model), (_, _, most, window) in MODELS.items()
        if most is not None
    ]
    return Catalogue(records, [*prices, *map(with_id, more)], limits, aliases)


def upstream(name: str = "openai", provider: Provider | None = None, **fields: Any) -> Upstream:
    """One upstream that nobody will connect to."""
    providers = {each.name: each for each in (openai.PROVIDER, deepseek.PROVIDER, azure_openai.PROVIDER)}
    spoken = provider or providers.get(name, openai_compatible.PROVIDER)
    values: dict[str, Any] = {
        "target": Target("https", f"{name}.test", 443),
        "host": f"{name}.test",
        "base_path": "/v1",
        "credential_headers": ((b"authorization", b"Bearer sk-upstream"),),
        "api_version": None,
        "prices_of": name,
        "timeouts": Timeouts(1, 1, 1),
        "drains": True,
        **fields,
    }
    return Upstream(name=name, provider=spoken, **values)


def account(id_: str = ACCOUNT, parent: str | None = None, **fields: Any) -> Account:
    """An account in order."""
    values: dict[str, Any] = {
        "name": id_,
        "path": id_,
        "kind": "team",
        "cost_center": None,
        "timezone": "UTC",
        "metadata": {},
        "status": "active",
        "created_at_us": 0,
        "deleted_at_us": None,
        "revision": 1,
        **fields,
    }
    return Account(id=id_, parent=parent, **values)


def key(**fields: Any) -> VirtualKey:
    """A key that may do anything."""
    values: dict[str, Any] = {
        "id": "key_1",
        "account": ACCOUNT,
        "name": "test",
        "fingerprint": fingerprint(KEY_TEXT),
        "hint": "sk-tg-...abcd",
        "models": None,
        "max_output_tokens": None,
        "on_over_cap": "clamp",
        "require_end_user": False,
        "sees_account": False,
        "tags": {},
        "metadata": {},
        "status": "active",
        "expires_at_us": None,
        "created_at_us": 0,
        "revoked_at_us": None,
        "rotated_to": None,
        "revision": 1,
        **fields,
    }
    return VirtualKey(**values)


def budget(cap: int, **fields: Any) -> Budget:
    """A monthly budget of the account in nano-USD, unless told otherwise."""
    values: dict[str, Any] = {
        "id": "bud_1",
        "name": "ours",
        "unit": "usd",
        "period": "month",
        "account": ACCOUNT,
        **fields,
    }
    return Budget(cap=cap, **values)


def caller(*budgets: Budget, accounts: Sequence[Account] | None = None, **fields: Any) -> Caller:
    """A key with the budgets that may apply to it."""
    return Caller(key(**fields), accounts or [account()], budgets)


def chat(**fields: Any) -> bytes:
    """A chat request's body."""
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], **fields}
    return json.dumps(body).encode()


def inbound(body: bytes | None = None, *headers: tuple[bytes, bytes], **fields: Any) -> InboundCall:
    """A call with its key; `fields` go into the body."""
    sent = [(b"authorization", b"Bearer " + KEY_TEXT.encode()), *headers]
    return InboundCall(FORMAT, FORMAT.paths[0], sent, chat(**fields) if body is None else body)


class Known:
    """As much of a directory as admission asks for."""

    def __init__(self, known: Catalogue) -> None:
        self.catalogue = known


class Lefts:
    """Headroom by budget, in the budget's unit; a budget that is not in it is not known."""

    def __init__(self, **left: int) -> None:
        self.amounts = left

    def left(self, budget: Budget, subject: str, now_us: int) -> int | None:
        return self.amounts.get(budget.id)


def desk(
    lefts: Lefts | None = None,
    *,
    known: Catalogue | None = None,
    upstreams: Sequence[Upstream] | None = None,
    aliases: Mapping[str, str] | None = None,
    unpriced: Unpriced | None = None,
    limits: Limits | None = None,
    names_per_hour: int = 100,
) -> Desk:
    """An admission desk over the small catalogue."""
    router = Router(
        upstreams or [upstream(), upstream("deepseek")],
        aliases or {},
        unpriced or Unpriced(True, RateCard.flat("unpriced", 0)),
    )
    directory = cast(Directory, Known(known or catalogue()))
    return Desk(
        directory,
        router,
        Translations(TRANSLATIONS, FORMATS),
        lefts or Lefts(),
        NameGate(names_per_hour),
        limits or Limits(16_384, 1_024),
        Breakers(BreakerPolicy(5, 15_000_000)),
        lambda below: 0,
    )


def offer(*budgets: Budget, left: Lefts | None = None, **fields: Any) -> Offer:
    """What a call is admitted on."""
    return desk(left).offer(caller(*budgets), inbound(**fields), NOON_US)
