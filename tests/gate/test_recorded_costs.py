"""Every recorded call priced end to end: its quote bounds its charge, which genai-prices computes, too.

Theirs is computed from the provider's usage object by their own extractors and their own table; ours by the
format's meter, the catalogue and the settlement. Three things they do not see: fees of searches that no usage
object tells of (OpenAI's, Google's), which are taken out before comparing; what other models did inside a
call, and compactions, which stand in `iterations` and are priced one by one; and DeepSeek's Responses, which
are read as OpenAI's.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from itertools import repeat
from typing import Any, Final

import pytest
from genai_prices.data import providers

from gateway import formats
from gateway.domain.catalogue import Catalogue
from gateway.domain.prices import RateCard
from gateway.domain.quotes import Quote
from gateway.formats.base import Format, Report
from gateway.gate.admission import Offer
from gateway.gate.inbound import InboundCall
from gateway.gate.plans import Unpriced
from gateway.gate.settlement import Agreed, Ending, Settlement, cards_of, settle
from gateway.providers import anthropic, azure_openai, deepseek, gemini, openai
from gateway.registry import scan
from gateway.store.price_files import seed_aliases, seed_limits, seed_prices
from gateway.store.price_sources import genai_prices
from tests.formats.playing import Case, any_intent, play, recordings, recordings_or_skip
from tests.gate.making import KEY_TEXT, NOON_US, caller, desk, upstream

FORMATS: Final[dict[str, Format]] = scan(formats, "FORMAT")
# By the recordings' names: our format, and the flavour of their extractor.
APIS: Final = {
    "chat": ("openai_chat", "chat"),
    "completions": ("openai_completions", "chat"),
    "embeddings": ("openai_embeddings", "embeddings"),
    "responses": ("openai_responses", "responses"),
    "messages": ("anthropic_messages", "default"),
    "streamRawPredict": ("anthropic_messages", "default"),
    "generateContent": ("gemini_generate", "default"),
    "streamGenerateContent": ("gemini_stream", "default"),
}
# By the recordings' names: our provider's, and theirs. Vertex serves what its makers serve, at their prices.
HOUSES: Final = {
    "openai": ("openai", "openai"),
    "azure-openai": ("azure_openai", "azure"),
    "anthropic": ("anthropic", "anthropic"),
    "deepseek": ("deepseek", "deepseek"),
    "gemini": ("gemini", "google"),
    "vertex": ("gemini", "google"),
}
PROVIDERS = {
    each.PROVIDER.name: each.PROVIDER for each in (openai, azure_openai, anthropic, deepseek, gemini)
}
THEIRS = {each.id: each for each in providers}
WHEN = datetime.fromtimestamp(NOON_US / 1_000_000, UTC)
RECORDED = recordings_or_skip(*APIS)
# Fees that their extractors find in the usage object of nobody else.
TELL_SEARCHES: Final = ("anthropic",)
FEES: Final = ("web_search", "file_search", "code_interpreter")
# Where we charge more than they: searches, told by the answer and not by its usage, and nano-USD for each.
# OpenAI's search models and its tool cost $10 for 1,000 calls, Google's grounding of Gemini 3 $14 for 1,000.
DIFFERENCES: Final = {
    "gemini-generatecontent-cached-implicit": (3, 14_000_000),
    "gemini-streamgeneratecontent-stream-nonmonotonic-usage": (1, 14_000_000),
    "openai-chat-web-search-options": (1, 10_000_000),
    "openai-responses-cache-write": (1, 10_000_000),
    "openai-responses-stream-cached": (1, 10_000_000),
    "openai-responses-stream-websearch": (1, 10_000_000),
    "openai-responses-stream-websearch-2": (1, 10_000_000),
    "openai-responses-websearch": (1, 10_000_000),
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """The catalogue of a fresh gateway."""
    imported = genai_prices()
    prices = [*imported.rows, *seed_prices()]
    return Catalogue(imported.models, prices, seed_limits(), seed_aliases())


class Priced:
    """One recorded call, admitted and settled as a gateway would."""

    def __init__(self, case: Case, catalogue: Catalogue) -> None:
        self.case = case
        self.catalogue = catalogue
        api, provider = case.expected["api"], case.expected["provider"]
        self.house, self.their_house = HOUSES[provider]
        if provider == "vertex" and api == "streamRawPredict":
            self.house = self.their_house = "anthropic"
        name, self.flavour = APIS[api]
        self.format = FORMATS[name]
        is_whole = case.request is not None and case.expected["raw_usage"]
        self.offer = self._offer(catalogue) if is_whole else None
        intent = any_intent() if self.offer is None else self.offer.intent
        if case.streamed:
            self.report = play(self.format, intent, case.reply, repeat(997)).report
        else:
            self.report = self.format.read_reply(case.reply, intent)[0]

    def _offer(self, catalogue: Catalogue) -> Offer:
        request = json.loads(self.case.request or b"{}")
        model = self.case.expected["model_served"] or self.case.expected["model_requested"]
        path = self.format.paths[0].partition("?")[0]
        if self.house != "gemini":
            # What a deployment or an alias is called says nothing of its price: priced as what it served.
            request["model"] = model
        path = path.replace("{model}", model)
        sent = [(b"authorization", b"Bearer " + KEY_TEXT.encode())]
        inbound = InboundCall(self.format, path, sent, json.dumps(request).encode())
        house = upstream(self.house, PROVIDERS[self.house], prices_of=self.house)
        unpriced = Unpriced(False, RateCard.flat("unpriced", 0))
        return desk(known=catalogue, upstreams=[house], unpriced=unpriced).offer(caller(), inbound, NOON_US)

    def settled(self, report: Report) -> Settlement:
        """What the call comes to."""
        terms = self.offer or self._agreed()
        cards = cards_of(self.catalogue, terms.plan, ["acct_team"])
        return settle(terms, Ending("done", 200, report), cards, NOON_US)

    def _agreed(self) -> Agreed:
        """A reply whose request was not recorded, priced as what it served."""
        house = upstream(self.house, PROVIDERS[self.house], prices_of=self.house)
        model = self.case.expected["model_served"]
        plan = desk(upstreams=[house]).router.plan(self.catalogue, f"{self.house}/{model}", NOON_US)
        return Agreed(plan, any_intent(), Quote(0, 0, 0), NOON_US)

    @property
    def difference_nano(self) -> int:
        """Our charge less theirs; 0 where they differ by no more than rounding."""
        assert self.report is not None
        charge = self.settled(self.report).charge
        difference = charge.total_nano - self.their_cost()
        # Half a nano-USD for each line, and half a pico-USD for each unit whose price was rounded.
        slack = Decimal(len(charge.lines)) / 2 + Decimal(sum(self.report.usage.values())) / 2000
        return 0 if abs(difference) <= slack else round(difference)

    def their_cost(self) -> Decimal:
        """In nano-USD, by genai-prices from the raw usage object."""
        raw = self.case.expected["raw_usage"]
        iterations = raw.get("iterations")
        if not iterations:
            return self._their_cost_of(raw, None)
        fees = {"input_tokens": 0, "output_tokens": 0, "server_tool_use": raw.get("server_tool_use") or {}}
        return self._their_cost_of(fees, None) + sum(
            self._their_cost_of(each, each.get("model")) for each in iterations
        )

    def _their_cost_of(self, raw: dict[str, Any], model_name: str | None) -> Decimal:
        house = THEIRS[self.their_house]
        reader = THEIRS["openai"] if self.flavour == "responses" else house
        served = model_name or self.case.expected["model_served"]
        names = ("usageMetadata", "modelVersion") if self.their_house == "google" else ("usage", "model")
        _, usage = reader.extract_usage(dict(zip(names, (raw, served), strict=True)), api_flavor=self.flavour)
        model = house.find_model(served, all_providers=providers)
        assert model is not None, f"genai-prices does not know {served}"
        tier = (self.report.service_tier if self.report else None) or ""
        context = {"service_tier": tier} if tier not in ("", "default", "standard") else None
        price = model.calc_price(usage, house, genai_request_timestamp=WHEN, price_context=context)
        return price.total_price * 10**9


@pytest.mark.parametrize("case", RECORDED)
def test_a_recorded_charge_is_theirs(case: Case, catalogue: Catalogue) -> None:
    """Equal, but for fees that no usage object tells of; where no usage is told, nothing is charged by it."""
    priced = Priced(case, catalogue)
    raw = case.expected["raw_usage"]
    if not raw:
        assert priced.report is None
    elif priced.report is None:
        assert raw["total_tokens"] == 0, "zeros beside an answer are no usage: it is counted"
    else:
        charge = priced.settled(priced.report).charge
        unseen = () if priced.their_house in TELL_SEARCHES else FEES
        fees = sum(line.cost_nano for line in charge.lines if line.meter in unseen)
        assert priced.difference_nano == fees, (charge, priced.their_cost())
        assert not [flag for flag in charge.flags if flag.startswith("unpriced")], charge.flags


@pytest.mark.parametrize("case", RECORDED)
def test_a_recorded_charge_is_within_its_quote(case: Case, catalogue: Catalogue) -> None:
    """Of a reply without its request nothing was quoted, of an error nothing is charged."""
    priced = Priced(case, catalogue)
    if priced.offer is not None and priced.report is not None:
        charge = priced.settled(priced.report).charge
        assert priced.offer.quote.cost_nano >= charge.total_nano, (priced.offer.quote, charge)


def test_the_differences_are_these(catalogue: Catalogue) -> None:
    """All of them, by name; a recording that is not here has to be equal."""
    cases = recordings(*APIS)
    if not cases:
        pytest.skip("recordings not present: see TOLLGATE_RECORDINGS")
    found = {}
    for case in cases:
        if case.expected["raw_usage"]:
            priced = Priced(case, catalogue)
            difference = priced.difference_nano if priced.report is not None else 0
            if difference:
                found[case.name] = difference
    present = {case.name for case in cases}
    assert found == {name: uses * fee for name, (uses, fee) in DIFFERENCES.items() if name in present}


def test_what_is_not_compared_costs_nothing_or_reports_nothing() -> None:
    """Counting tokens is free; Gemini's batches of embeddings tell no usage, so they are counted."""
    left = [case for case in recordings("count_tokens", "batchEmbedContents") if case.expected["raw_usage"]]
    assert not [case.name for case in left if case.expected["api"] != "count_tokens"]
