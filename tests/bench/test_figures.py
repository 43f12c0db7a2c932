"""The figures that are shown, from samples made up by hand."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from bench.figures import rows_of, table


def sample(rps: float, p50_us: float, *, gateway: float | None = None, rig: float = 0.5) -> dict[str, Any]:
    return {
        "rps": rps,
        "err": 0,
        "lat_us": {"p50": p50_us, "p99": 2 * p50_us},
        "ttfb_us": {"p50": 1.0, "p99": 1.0},
        "gw_us_per_req": 100.0,
        "gw_cpu": gateway,
        "rig_cpu": rig,
        "rss_mb": 50.0,
    }


FOUND = {
    "direct": [sample(1000, 100), sample(2000, 100), sample(3000, 100)],
    "nginx": [sample(100, 200, rig=0.95), sample(200, 200, rig=0.95), sample(400, 200, rig=0.95)],
    "tollgate": [
        sample(50, 1100, gateway=0.99),
        sample(20, 2100, gateway=0.99),
        sample(160, 600, gateway=0.9),
    ],
}


def test_ratios_are_taken_round_by_round() -> None:
    rows = {row["variant"]: row for row in rows_of("non-stream", FOUND)}
    assert rows["tollgate"]["of_nginx"] == [0.4, 0.1, 0.5]
    assert rows["nginx"]["of_nginx"] == [1.0, 1.0, 1.0]


def test_what_is_added_is_over_the_upstream_alone() -> None:
    rows = {row["variant"]: row for row in rows_of("non-stream", FOUND)}
    assert (rows["tollgate"]["added_p50_ms"], rows["tollgate"]["added_p99_ms"]) == (1.0, 2.0)
    assert rows["direct"]["added_p50_ms"] is None


def test_it_is_said_what_ran_out_first() -> None:
    limits = {row["variant"]: row["limit"] for row in rows_of("non-stream", FOUND)}
    assert limits == {"direct": "neither", "nginx": "rig", "tollgate": "itself"}


def test_without_nginx_there_is_no_ratio() -> None:
    found = {name: samples for name, samples in FOUND.items() if name != "nginx"}
    assert [row["of_nginx"] for row in rows_of("stream burst", found)] == [None, None]


def test_a_table_has_a_line_a_variant() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table("non-stream", rows_of("non-stream", FOUND)))
    assert "0.400 (0.100-0.500)" in captured.get()
