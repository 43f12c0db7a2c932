from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.gate.breakers import BreakerPolicy, Breakers

POLICY = BreakerPolicy(failures=3, open_us=1_000)


def opened(at_us: int = 0) -> Breakers:
    breakers = Breakers(POLICY)
    assert [breakers.failed("a", at_us) for _ in range(3)] == [False, False, True]
    return breakers


def test_failures_in_a_row_open_it_and_a_good_answer_between_does_not() -> None:
    breakers = Breakers(POLICY)
    for _ in range(2):
        breakers.failed("a", 0)
        breakers.failed("a", 0)
        assert breakers.allows("a", 0)
        assert not breakers.succeeded("a")
    assert not opened().allows("a", 0)


def test_it_is_one_upstreams_matter() -> None:
    assert opened().allows("b", 0)
    breakers = opened()
    assert breakers.open_now() == ["a"]
    assert [breakers.take_opened(), breakers.take_opened()] == [["a"], []]


def test_one_call_may_try_it_again_after_a_while() -> None:
    breakers = opened()
    assert not breakers.allows("a", 999)
    assert [breakers.allows("a", 1_000) for _ in range(3)] == [True, False, False]
    assert not breakers.failed("a", 1_500)  # it is open already
    assert not breakers.allows("a", 2_400)
    assert breakers.allows("a", 2_500)
    assert breakers.succeeded("a")
    assert breakers.allows("a", 2_500)
    assert not breakers.is_needed


def test_a_clock_that_steps_back_keeps_nobody_out() -> None:
    assert opened(at_us=5_000).allows("a", 0)


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "ask"]), st.integers(0, 500))))
def test_an_open_one_lets_at_most_one_call_through_each_time(steps: list[tuple[str, int]]) -> None:
    breakers, now_us, let_through = Breakers(POLICY), 0, -POLICY.open_us
    for step, took_us in steps:
        now_us += took_us
        if step == "bad":
            breakers.failed("a", now_us)
        elif step == "ok":
            breakers.succeeded("a")
        elif breakers.open_now() and breakers.allows("a", now_us):
            assert now_us - let_through >= POLICY.open_us or let_through < 0
            let_through = now_us
        if not breakers.open_now():
            let_through = -POLICY.open_us
