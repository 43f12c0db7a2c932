"""What delivery tests work with: a database with targets in it, driven time, and workers that deliver."""

from __future__ import annotations

import os
from typing import Any

import gateway.alerts.channels
from gateway.alerts.dispatcher import Dispatcher
from gateway.alerts.egress import Egress
from gateway.alerts.sending import Sender
from gateway.alerts.signing import secret_text
from gateway.alerts.targets import Targets
from gateway.domain.networks import parse_networks
from gateway.registry import scan
from gateway.relay.calls import Limits
from gateway.relay.client import Client
from gateway.relay.dialing import look_up
from gateway.sealing import Seal
from gateway.store.events import Event, write_events
from gateway.store.webhooks import NewWebhook, create_webhook
from tests.ledger.workbench import Workbench

__all__ = ["Office"]

SEAL = Seal("an encryption key", "webhook")


class Office:
    """Workers of one database that deliver; made by a fixture, which stops them."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.chance = 0
        egress = Egress(parse_networks(["127.0.0.0/8"]), look_up)
        channels = scan(gateway.alerts.channels, "CHANNEL")
        self.targets = Targets(channels, SEAL, egress, os.urandom, mails=False)
        self.client = Client(Limits(), look_up=egress.addresses)
        self.workers: list[Dispatcher] = []
        self._webhooks = 0
        self._events = 0

    def worker(self) -> Dispatcher:
        """Another worker, as of another process."""
        sender = Sender(self.client, None)
        made = Dispatcher(self.bench.database, self.bench.clock, self._entropy, self.targets, sender)
        self.workers.append(made)
        return made

    def _entropy(self, size: int) -> bytes:
        return bytes([self.chance]) if size == 1 else os.urandom(size)

    async def webhook(
        self, target: str, *events: str, account: str | None = None, name: str = "standard"
    ) -> str:
        """Add a target; its secret."""
        self._webhooks += 1
        secret = secret_text(os.urandom(32))
        new = NewWebhook(account, name, SEAL.seal(target), target, events or ("*",), SEAL.seal(secret))
        webhook_id = f"whk_{self._webhooks}"
        await self.bench.database.write(
            create_webhook, new, webhook_id=webhook_id, now_us=self.bench.clock.now_us()
        )
        return secret

    async def events(
        self, count: int, *, subjects: int = 1, event: str = "price.missing", **more: Any
    ) -> None:
        """Write events, one after the other over so many subjects."""
        made = []
        for _ in range(count):
            self._events += 1
            subject = f"subject_{self._events % subjects}"
            data = {"provider": "openai", "model": f"m{self._events}", **more}
            made.append(Event(event, f"dedupe_{self._events}", more.get("account"), subject, data))
        await self.bench.database.write(write_events, made, self.bench.clock.now_us())

    async def deliver(self, worker: Dispatcher | None = None) -> None:
        """One look, and everything that follows from it."""
        chosen = worker or (self.workers[0] if self.workers else self.worker())
        await chosen.look()
        await chosen.idle()

    async def statuses(self) -> list[tuple[str, int]]:
        """Status and attempts of every delivery, in the order of events and targets."""
        rows = await self.bench.rows("SELECT status, attempts FROM deliveries ORDER BY event, webhook")
        return [(row[0], row[1]) for row in rows]

    async def stop(self) -> None:
        for worker in self.workers:
            await worker.stop()
        await self.client.aclose()
