"""The alerts of one worker: its lookout, its dispatcher, and what administrators' targets are read with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import gateway.alerts.channels
from gateway.alerts.dispatcher import Dispatcher
from gateway.alerts.egress import Egress
from gateway.alerts.lookout import Lookout
from gateway.alerts.mailing import Mailer, MailServer
from gateway.alerts.sending import Sender
from gateway.alerts.targets import Targets
from gateway.clock import Clock
from gateway.domain.errors import BadRequest
from gateway.domain.networks import Network, parse_networks
from gateway.registry import scan
from gateway.relay.calls import Limits
from gateway.relay.client import Client
from gateway.relay.dialing import look_up
from gateway.sealing import Seal
from gateway.store.engine import Database

__all__ = ["Alerts", "Outlets"]


@dataclass(frozen=True, slots=True)
class Outlets:
    """By what alerts may leave: private networks that may be reached, and the mail server if there is one."""

    allowed: tuple[Network, ...]
    mail_server: MailServer | None

    @classmethod
    def parse(cls, allow_private: Sequence[str], smtp_url: str, smtp_sender: str) -> Outlets:
        """From the settings of these names; BadRequest says which one cannot be."""
        try:
            allowed = parse_networks(allow_private)
        except ValueError as error:
            raise _wrong("webhooks.allow_private", str(error), "Write networks such as 10.0.0.0/8.") from None
        try:
            return cls(allowed, MailServer.parse(smtp_url, smtp_sender) if smtp_url else None)
        except ValueError as error:
            # The URL may hold a password, and is not repeated.
            hint = "Write smtp://user:password@host, and webhooks.smtp_sender as a mail address."
            raise _wrong("webhooks.smtp_url", str(error), hint) from None


def _wrong(setting: str, problem: str, hint: str) -> BadRequest:
    return BadRequest("invalid_value", f"{setting} is not right: {problem}. {hint}", hint=hint, param=setting)


class Alerts:
    """Lives on one event loop, and is made while that runs."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        entropy: Callable[[int], bytes],
        seal: Seal,
        *,
        outlets: Outlets,
        missing_prices: Callable[[], Sequence[tuple[str, str]]],
        unhealthy: Callable[[], Sequence[str]],
    ) -> None:
        """`missing_prices` and `unhealthy` feed the lookout."""
        mail_server = outlets.mail_server
        egress = Egress(outlets.allowed, look_up)
        channels = scan(gateway.alerts.channels, "CHANNEL")
        self.targets = Targets(channels, seal, egress, entropy, mails=mail_server is not None)
        self._mailer = None if mail_server is None else Mailer(mail_server)
        self._client = Client(Limits(), look_up=egress.addresses)
        sender = Sender(self._client, self._mailer)
        self._dispatcher = Dispatcher(database, clock, entropy, self.targets, sender)
        self._lookout = Lookout(database, clock, missing_prices, unhealthy)

    def loops(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What runs until it is cancelled, before `stop`."""
        return self._lookout.run, self._dispatcher.run

    async def stop(self) -> None:
        """Write down what is under way, and close every connection."""
        await self._dispatcher.stop()
        await self._client.aclose()
        if self._mailer is not None:
            self._mailer.stop()
