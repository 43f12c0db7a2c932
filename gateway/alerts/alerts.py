"""The alerts of one worker: its lookout, its dispatcher, and what administrators' targets are read with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import gateway.alerts.channels
from gateway.alerts.dispatcher import Dispatcher
from gateway.alerts.egress import Egress
from gateway.alerts.lookout import Lookout
from gateway.alerts.mailing import Mailer, MailServer
from gateway.alerts.sending import Sender
from gateway.alerts.targets import Targets
from gateway.clock import Clock
from gateway.domain.networks import Network
from gateway.registry import scan
from gateway.relay.calls import Limits
from gateway.relay.client import Client
from gateway.relay.dialing import look_up
from gateway.sealing import Seal
from gateway.store.engine import Database

__all__ = ["Alerts"]


class Alerts:
    """Lives on one event loop, and is made while that runs."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        entropy: Callable[[int], bytes],
        seal: Seal,
        *,
        allowed: Sequence[Network],
        mail_server: MailServer | None,
        missing_prices: Callable[[], Sequence[tuple[str, str]]],
    ) -> None:
        """`allowed` are the private networks that may be reached; `missing_prices` feeds the lookout."""
        egress = Egress(allowed, look_up)
        channels = scan(gateway.alerts.channels, "CHANNEL")
        self.targets = Targets(channels, seal, egress, entropy, mails=mail_server is not None)
        self._mailer = None if mail_server is None else Mailer(mail_server)
        self._client = Client(Limits(), look_up=egress.addresses)
        sender = Sender(self._client, self._mailer)
        self._dispatcher = Dispatcher(database, clock, entropy, self.targets, sender)
        self._lookout = Lookout(database, clock, missing_prices)

    def loops(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What runs until it is cancelled, before `stop`."""
        return self._lookout.run, self._dispatcher.run

    async def stop(self) -> None:
        """Write down what is under way, and close every connection."""
        await self._dispatcher.stop()
        await self._client.aclose()
        if self._mailer is not None:
            self._mailer.stop()
