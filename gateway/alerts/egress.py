"""Who may be connected to: names are resolved once, every address is judged, only judged ones are dialled.

The client connects to the addresses that come from here and asks no resolver again, so a name that leads
elsewhere a moment later (DNS rebinding) changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.alerts.channels.base import invalid_target
from gateway.domain.networks import Network, inside, why_forbidden
from gateway.relay.calls import Target
from gateway.relay.dialing import Address, LookUp

__all__ = ["Egress"]

# What web servers listen on. Other ports are other protocols, which a request could be smuggled into.
PORTS: Final = frozenset({80, 443, 8080, 8443})


class Egress:
    """Judges targets. `allowed` are private networks that may be reached all the same, on any port."""

    def __init__(self, allowed: Sequence[Network], look_up: LookUp) -> None:
        self._allowed = tuple(allowed)
        self._look_up = look_up

    async def addresses(self, target: Target) -> list[Address]:
        """Where to connect to, as the client's resolver. Raises OSError for what may not be connected to."""
        found = await self._look_up(target)
        problem = self._problem(target, found)
        if problem is not None:
            raise OSError(problem)
        return found

    async def check(self, target: Target) -> None:
        """Raise BadRequest for a target that may not be connected to, as things are now."""
        try:
            found = await self._look_up(target)
        except (OSError, UnicodeError):
            raise invalid_target(f"The name {target.host} has no address.") from None
        problem = self._problem(target, found)
        if problem is not None:
            error = invalid_target(f"{target.host} may not be a target: {problem}.")
            error.hint = "Private networks have to be named in webhooks.allow_private."
            raise error

    def _problem(self, target: Target, addresses: Sequence[Address]) -> str | None:
        """One bad address spoils a name: nobody says which one a connection would end at."""
        strangers = [each.sockaddr[0] for each in addresses if not inside(each.sockaddr[0], self._allowed)]
        if not strangers:
            return None
        for address in strangers:
            why = why_forbidden(address)
            if why is not None:
                return f"its address is {why}"
        if target.scheme != "https":
            return "outside allowed networks it has to be https"
        if target.port not in PORTS:
            return f"its port is none of {', '.join(str(port) for port in sorted(PORTS))}"
        return None
