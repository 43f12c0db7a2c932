"""What a scrape of a running gateway says of the calls it just served."""

from __future__ import annotations

from pathlib import Path

from gateway.simulators import SimulatedProviders
from tests.api.test_metrics import Series, series, values
from tests.e2e.teams import Team
from tests.running import Gateway, eventually, running


def scrape(gateway: Gateway) -> dict[Series, float]:
    """The series, without their worker, summed over workers."""
    sums: dict[Series, float] = {}
    for (name, labels), value in values(gateway.admin.call("GET", "/metrics").body).items():
        whole = name, frozenset(label for label in labels if label[0] != "worker")
        sums[whole] = sums.get(whole, 0) + value
    return sums


def test_calls_units_and_charges_are_counted(gateway: Gateway) -> None:
    team = Team(gateway, "scraped")
    before = scrape(gateway)
    answer = team.client.chat("gpt-4.1", "hello")
    receipt = team.receipt_of(answer)
    after = scrape(gateway)
    model = {"provider": "openai", "model": receipt["model"]}

    def grew(name: str, **labels: str) -> float:
        found = series(name, **labels)
        return round(after[found] - before.get(found, 0), 9)

    assert grew("tollgate_calls_total", **model, outcome="done") == 1
    assert grew("tollgate_units_total", **model, meter="input") == receipt["usage"]["input"]
    assert grew("tollgate_charge_usd_total", **model) == float(receipt["cost_usd"])
    assert grew("tollgate_call_seconds_count", streamed="no") == 1
    assert after[series("tollgate_ready")] == 1


def test_refusals_are_counted_and_nobody_else_reads_them(gateway: Gateway) -> None:
    team = Team(gateway, "refused")
    before = scrape(gateway).get(series("tollgate_refusals_total", code="model_not_found"), 0)
    assert team.client.chat("no-such-model", "hello").status == 404
    assert scrape(gateway)[series("tollgate_refusals_total", code="model_not_found")] == before + 1
    eventually(lambda: '"refused":{"model_not_found":' in gateway.words(), "the log tells of it")
    assert gateway.client("").call("GET", "/metrics").status == 401
    assert team.client.call("GET", "/metrics").status == 401


def test_a_scrape_tells_of_every_worker(tmp_path: Path, providers: SimulatedProviders) -> None:
    with running(tmp_path, providers, workers=2) as gateway:
        eventually(
            lambda: scrape(gateway)[series("tollgate_ready")] == 2,
            "both workers are in one scrape",
            limit_s=90,
        )
