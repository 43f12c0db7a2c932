"""Whether a call whose attempt came to nothing is tried again, where, and when.

Only an attempt that cannot have been billed is followed by another: one that was not sent, or that the
provider refused. First come the model's other upstreams, then the same one after the wait that the provider
asked for or a random one, then the models that the configuration names as fallbacks, each quoted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from gateway.domain.errors import GatewayError, UpstreamFailed
from gateway.gate.admission import Desk, Offer
from gateway.gate.attempts import Attempt

__all__ = ["Next", "Retries", "RetryPolicy", "Verdict", "verdict"]

US_PER_S: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The configured bounds: attempts of a call in all, seconds in which one may begin, and waits."""

    attempts: int
    within_s: float
    backoff_s: float
    longest_wait_s: float


class Verdict(NamedTuple):
    """What a failed attempt allows: nothing, only other upstreams, or the same one too, after a wait."""

    kind: Literal["final", "elsewhere", "again"]
    after_s: float | None = None


class Next(NamedTuple):
    """The next attempt, and how long to wait before it."""

    offer: Offer
    wait_s: float


FINAL: Final = Verdict("final")


def verdict(attempt: Attempt) -> Verdict:
    """What a closed attempt says."""
    settlement, answer = attempt.settlement, attempt.answer
    if settlement is None or settlement.closing.outcome != "void":
        return FINAL
    if answer is None or answer.status < 400:
        # Not reached, or some proxy's page in the provider's place; anything else is our own trouble.
        return Verdict("again") if isinstance(attempt.error, UpstreamFailed) else FINAL
    refusal = attempt.offer.plan.upstream.provider.read_refusal(answer.status, answer.headers, answer.body)
    if refusal.blame == "credential":
        return Verdict("elsewhere")
    if refusal.worth_it:
        return Verdict("again", refusal.after_s)
    # A day's quota that is spent here may not be there.
    return Verdict("elsewhere") if refusal.blame == "provider" else FINAL


class Retries:
    """Decides for all calls of a worker. `wait_below_s` is a random wait, shorter than its argument."""

    def __init__(
        self,
        policy: RetryPolicy,
        desk: Desk,
        fallbacks: Mapping[str, Sequence[str]],
        wait_below_s: Callable[[float], float],
    ) -> None:
        """`fallbacks` are the models to go on with, by the name that was asked for."""
        self._policy = policy
        self._desk = desk
        self._fallbacks = fallbacks
        self._wait_below_s = wait_below_s

    def after(self, attempts: Sequence[Attempt], now_us: int) -> Next | None:
        """What follows a call's attempts so far; None when the last one's answer is the call's."""
        last = attempts[-1]
        said = verdict(last)
        elapsed_s = (now_us - last.offer.admitted_at_us) / US_PER_S
        if (
            said.kind == "final"
            or len(attempts) >= self._policy.attempts
            or elapsed_s > self._policy.within_s
        ):
            return None
        fallback = _unless_refused(lambda: self._fallback(attempts))
        # The last attempt is the fallback's, where there is one.
        if fallback is not None and len(attempts) + 1 >= self._policy.attempts:
            return fallback
        return (
            _unless_refused(lambda: self._elsewhere(attempts))
            or _unless_refused(lambda: self._again(attempts, said))
            or fallback
        )

    def _elsewhere(self, attempts: Sequence[Attempt]) -> Next | None:
        offer = attempts[-1].offer
        tried = {each.offer.plan.upstream.name for each in attempts}
        other = None if offer.intent.stored else self._desk.elsewhere(offer, tried)
        return None if other is None else Next(other, 0.0)

    def _again(self, attempts: Sequence[Attempt], said: Verdict) -> Next | None:
        if said.kind != "again":
            return None
        offer = attempts[-1].offer
        times = sum(1 for each in attempts if each.offer.plan.upstream.name == offer.plan.upstream.name)
        wait_s = self._wait_below_s(self._policy.backoff_s * 2 ** (times - 1))
        if said.after_s is not None:
            wait_s = said.after_s + wait_s / 10
        return (
            None if wait_s > self._policy.longest_wait_s else Next(self._desk.anew(offer, offer.plan), wait_s)
        )

    def _fallback(self, attempts: Sequence[Attempt]) -> Next | None:
        first = attempts[0].offer
        used = {each.offer.plan.model for each in attempts}
        for model in self._fallbacks.get(self._desk.asked(first), ()):
            offer = self._desk.instead(first, model)
            if offer.plan.model not in used:
                return Next(offer, 0.0)
        return None


def _unless_refused(make: Callable[[], Next | None]) -> Next | None:
    """What would follow, unless it would be refused: then the answer there is stands."""
    try:
        return make()
    except GatewayError:
        return None
