"""Settlement: each way an attempt can end, and what of it is booked."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.prices import PriceRow, RateCard, with_id
from gateway.formats.base import Report
from gateway.gate.plans import Unpriced
from gateway.gate.settlement import Ending, Settlement, settle
from tests.gate.making import NOON_US, caller, desk, inbound, offer

LATER_US = NOON_US + 5_000_000
IN_NANO, OUT_NANO = 2_000, 8_000  # gpt-4.1, a token


def report(into: int = 10, out: int = 5, **fields: Any) -> Report:
    usage = {meter: quantity for meter, quantity in (("input", into), ("output", out)) if quantity}
    return Report(**{"usage": usage, "raw": b'{"prompt_tokens":10}', **fields})


def settled(ending: Ending, card: RateCard | None = None, **fields: Any) -> Settlement:
    return settle(offer(max_tokens=100, **fields), ending, lambda served: card, LATER_US)


def test_what_the_provider_reports_is_booked() -> None:
    closing = settled(Ending("done", 200, report(model="gpt-4.1-2025-04-14"))).closing
    assert (closing.outcome, closing.status, closing.served_model) == ("done", 200, "gpt-4.1-2025-04-14")
    assert (closing.usage, closing.usage_source) == ({"input": 10, "output": 5}, "provider")
    assert closing.charge_nano == closing.list_nano == 10 * IN_NANO + 5 * OUT_NANO
    assert (closing.tokens, closing.requests, closing.flags) == (15, 1, [])
    assert (closing.raw_usage, closing.closed_at_us) == (b'{"prompt_tokens":10}', LATER_US)
    assert sum(line[4] for line in closing.lines) == closing.charge_nano


def test_without_a_report_the_count_is_booked_and_said_to_be_an_estimate() -> None:
    closing = settled(Ending("done", 200, counted={"input": 8, "output": 3})).closing
    assert (closing.usage, closing.usage_source) == ({"input": 8, "output": 3}, "counted")
    assert closing.charge_nano == 8 * IN_NANO + 3 * OUT_NANO
    assert (closing.flags, closing.raw_usage) == (["estimated"], None)


def test_a_count_of_nothing_is_not_stored_as_a_zero() -> None:
    assert settled(Ending("aborted", None, counted={"input": 8, "output": 0})).closing.usage == {"input": 8}


@pytest.mark.parametrize(
    ("missing", "usage"), [("output", {"input": 10, "output": 3}), ("input", {"input": 8, "output": 5})]
)
def test_a_report_with_a_gap_is_completed_by_the_count(missing: str, usage: dict[str, int]) -> None:
    told = report(*((10, 0) if missing == "output" else (0, 5)), missing=(missing,))
    ending = Ending("done", 200, told)
    assert not ending.is_known
    closing = settled(ending.with_count({"input": 8, "output": 3})).closing
    assert (closing.usage, closing.usage_source) == (usage, "mixed")
    assert closing.flags == ["estimated"]


def test_a_void_charges_nothing_and_counts_as_no_request() -> None:
    closing = settled(Ending("void", 400, flags=("upstream_refused",))).closing
    assert (closing.charge_nano, closing.tokens, closing.requests) == (0, 0, 0)
    assert (closing.usage, closing.usage_source, closing.flags) == ({}, "none", ["upstream_refused"])


def test_an_error_before_anything_was_produced_is_a_refusal() -> None:
    ending = Ending("aborted", 200, flags=("upstream_error",))
    assert ending.with_count({"input": 8, "output": 0}).outcome == "void"
    assert ending.with_count({"input": 8, "output": 1}).outcome == "aborted"
    # A break is no refusal: the provider may have worked on the prompt.
    assert Ending("aborted", 200, flags=("upstream_died",)).with_count({"input": 8}).outcome == "aborted"


def test_what_is_known_needs_no_count() -> None:
    assert Ending("done", 200, report()).is_known
    assert Ending("void", None).is_known
    assert not Ending("done", 200).is_known
    assert not Ending("done", 200, report(missing=("output",))).is_known


def test_the_served_model_decides_the_price() -> None:
    rows = [with_id(PriceRow("", "openai", "other", meter, 1_000_000)) for meter in ("input", "output")]
    dearer = RateCard("openai", "other", rows)
    assert settled(Ending("done", 200, report(model="other")), dearer).closing.charge_nano == 15 * 1_000
    # One that nobody knows is charged as the one that was asked for.
    assert settled(Ending("done", 200, report(model="other"))).closing.charge_nano == 60_000


def test_the_served_tier_decides_the_price() -> None:
    rows = [
        with_id(PriceRow("", "openai", "m", meter, pico, service_tier=tier))
        for tier, pico in (("", 2_000_000), ("flex", 1_000_000))
        for meter in ("input", "output")
    ]
    card = RateCard("openai", "m", rows)
    lenient = desk(unpriced=Unpriced(False, RateCard.flat("unpriced", 0)))
    for asked, served, cost in ((None, "flex", 15_000), ("flex", "default", 30_000), ("flex", None, 15_000)):
        made = lenient.offer(caller(), inbound(service_tier=asked), NOON_US)
        ending = Ending("done", 200, report(model="m", service_tier=served))
        assert settle(made, ending, lambda served: card, LATER_US).closing.charge_nano == cost


@pytest.mark.parametrize("name", ["m" * 256, "a\0b", "line\nend", ""])
def test_a_served_name_that_cannot_be_stored_is_left_out(name: str) -> None:
    closing = settled(Ending("done", 200, report(model=name))).closing
    assert closing.served_model is None
    assert closing.charge_nano == 60_000


def test_more_than_was_quoted_is_booked_in_full_and_flagged() -> None:
    closing = settled(Ending("done", 200, report(out=10**6))).closing
    assert closing.charge_nano == 10 * IN_NANO + 10**6 * OUT_NANO
    assert closing.flags == ["overrun"]


def test_usage_without_a_price_and_fields_nobody_knows_are_flagged() -> None:
    told = Report(usage={"input": 10, "web_search": 2}, raw=b"{}", unknown=("new.field" * 20, *"abcdefghij"))
    flags = settled(Ending("done", 200, told, flags=("cut", "cut"))).closing.flags
    assert flags[:2] == ["cut", "unpriced:web_search"]
    assert len(flags) == 10
    assert all(len(flag) < 80 for flag in flags)


def test_flags_add_up() -> None:
    ending = Ending("done", 200).flagged("client_gone")
    assert settled(ending.with_count({"input": 1})).closing.flags == ["client_gone", "estimated"]


def test_what_another_model_did_costs_what_that_model_costs() -> None:
    told = report(others=(("gpt-4.1-nano", {"output": 7}),))
    card = RateCard(
        "openai", "gpt-4.1-nano", [with_id(PriceRow("", "openai", "gpt-4.1-nano", "output", 1_000_000))]
    )
    closing = settle(
        offer(max_tokens=100),
        Ending("done", 200, told),
        lambda served: card if served == "gpt-4.1-nano" else None,
        LATER_US,
    ).closing
    assert closing.usage == {"input": 10, "output": 12}
    assert closing.charge_nano == 10 * IN_NANO + 5 * OUT_NANO + 7 * 1_000
    assert closing.flags == []


def test_another_model_nobody_knows_is_priced_as_the_one_asked_for_and_flagged() -> None:
    closing = settled(Ending("done", 200, report(others=(("tides-1", {"output": 7}),)))).closing
    assert closing.charge_nano == 10 * IN_NANO + 12 * OUT_NANO
    assert closing.flags == ["unknown_model:tides-1"]


def test_a_count_does_not_undercut_what_was_told_before_the_end() -> None:
    told = report(10, 40, missing=("output",))
    closing = settled(Ending("aborted", 200, told).with_count({"output": 1})).closing
    assert closing.usage == {"input": 10, "output": 40}
