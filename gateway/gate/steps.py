"""The steps of a call, and what happens when one fails: it ends this one call, and says so to its client."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Protocol, TypeVar, TypeVarTuple

from gateway.domain.errors import Unavailable

__all__ = ["guarded", "unwritten"]

Given = TypeVarTuple("Given")


class Stepping(Protocol):
    """Whoever goes in steps and hears of one that failed."""

    def went_wrong(self, error: BaseException) -> None: ...


S = TypeVar("S", bound=Stepping)


def guarded(step: Callable[[S, *Given], None]) -> Callable[[S, *Given], None]:
    """A step of a call, whose failure ends the call and nothing else."""

    @wraps(step)
    def run(owner: S, /, *given: *Given) -> None:
        try:
            step(owner, *given)
        except Exception as error:
            owner.went_wrong(error)

    return run


def unwritten() -> Unavailable:
    """Nothing happens that the journal does not know."""
    return Unavailable(
        "ledger_unavailable",
        "The journal cannot be written.",
        hint="Calls are refused rather than lost; the operator has to make room.",
        retry_after_s=5,
    )
