"""Models that nobody has priced are remembered until they are told of."""

from __future__ import annotations

from gateway.gate.missing_prices import MOST, MissingPrices


def test_each_is_told_once_and_only_so_many_at_a_time() -> None:
    missing = MissingPrices()
    for number in range(3 * MOST):
        missing.note("openai", f"model-{number % (2 * MOST)}")
    assert missing.take() == [("openai", f"model-{number}") for number in range(MOST)]
    assert missing.take() == []
    missing.note("openai", "again")
    assert missing.take() == [("openai", "again")]
