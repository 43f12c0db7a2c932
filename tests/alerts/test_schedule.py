"""When what failed is tried again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.alerts.schedule import MOST_ATTEMPTS, next_attempt_us, rest_until_us

SECOND = 1_000_000
DAY = 86_400 * SECOND


def test_the_first_retry_comes_within_five_seconds_and_the_last_after_three_days() -> None:
    for chance in (0, 255):
        at = 0
        for attempts in range(1, MOST_ATTEMPTS):
            following = next_attempt_us(attempts, at, chance, None)
            assert following is not None
            at = following
            if attempts == 1:
                assert at < 4 * SECOND
        assert 3 * DAY < at < 4 * DAY
    assert next_attempt_us(MOST_ATTEMPTS, 0, 0, None) is None


@given(st.integers(1, MOST_ATTEMPTS - 1), st.integers(0, 255), st.integers(0, 10**9) | st.none())
def test_it_is_never_early_and_a_wish_is_kept_to_up_to_a_day(
    attempts: int, chance: int, wish_s: int | None
) -> None:
    plain, now = next_attempt_us(attempts, 7, 0, None), next_attempt_us(attempts, 7, chance, wish_s)
    assert plain is not None
    assert now is not None
    assert now >= min(plain, 7 + DAY)
    if wish_s is not None:
        assert now >= 7 + min(wish_s * SECOND, DAY)
        assert now <= 7 + max(DAY, plain)


def test_a_silent_target_is_tried_by_something_every_few_minutes() -> None:
    assert rest_until_us(3 * SECOND, 0) == 3 * SECOND
    assert rest_until_us(DAY, 0) == 300 * SECOND
