"""Bounds: who is looked after, and what a client is told past them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.api.bounds import (
    Watch,
    body_too_large,
    head_too_large,
    not_http,
    too_many_connections,
    too_slow,
)
from gateway.formats.refusals import render
from tests.api.wiring import Bounds


@dataclass(eq=False)
class Waiting:
    """A connection that waits."""

    waits_since_s: float
    patience_s: float
    lost: int = 0

    def lose_patience(self) -> None:
        self.lost += 1


def test_who_waits_too_long_is_told_at_the_next_look() -> None:
    watch = Watch(lambda: 100.0)
    busy, patient, late = Waiting(0.0, 1.0), Waiting(99.0, 1.0), Waiting(98.9, 1.0)
    watch.connections |= {busy, patient, late}
    watch.sweep()
    assert (busy.lost, patient.lost, late.lost) == (0, 0, 1)


def test_a_connection_may_go_while_all_are_looked_at() -> None:
    watch = Watch(lambda: 100.0)

    class Going(Waiting):
        def lose_patience(self) -> None:
            watch.connections.clear()

    watch.connections |= {Going(1.0, 1.0), Going(1.0, 1.0)}
    watch.sweep()
    assert watch.connections == set()


def test_each_bound_has_its_status_and_says_how_to_stay_within_it() -> None:
    errors = [
        head_too_large(Bounds()),
        body_too_large(Bounds()),
        too_slow(),
        not_http(),
        too_many_connections(),
    ]
    assert [render(error, "openai").status for error in errors] == [431, 413, 400, 400, 503]
    assert all(error.hint for error in errors)
