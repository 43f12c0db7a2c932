"""Targets as administrators name them: read by their channel, judged, sealed, and opened again to be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.alerts.channels.base import Channel, Mailbox, Place
from gateway.alerts.egress import Egress
from gateway.alerts.signing import SECRET_BYTES, secret_text
from gateway.domain.errors import BadRequest
from gateway.sealing import Seal
from gateway.store.webhooks import Webhook

__all__ = ["Opened", "Targets"]


@dataclass(frozen=True, slots=True)
class Opened:
    """A target that can be sent to: its channel, where it is, its text, and the secrets that sign."""

    channel: Channel
    place: Place
    text: str
    secrets: tuple[str, ...]


class Targets:
    """Knows the channels, the encryption key, and who may be connected to."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        seal: Seal,
        egress: Egress,
        entropy: Callable[[int], bytes],
        *,
        mails: bool,
    ) -> None:
        """`mails` says that a mail server is configured."""
        self._channels = channels
        self._seal = seal
        self._egress = egress
        self._entropy = entropy
        self._mails = mails

    async def check(self, name: str, text: str) -> None:
        """Raise BadRequest for a target that cannot be sent to. Asks the resolver, so it takes its time."""
        place = self.channel(name).read(text)
        if not isinstance(place, Mailbox):
            await self._egress.check(place.target)
        elif not self._mails:
            raise BadRequest(
                "invalid_value",
                "No mail server is configured.",
                hint="Set webhooks.smtp_url and webhooks.smtp_sender, or use another format.",
                param="format",
            )

    def channel(self, name: str) -> Channel:
        """The channel; BadRequest for a name that no channel has."""
        found = self._channels.get(name)
        if found is None:
            raise BadRequest(
                "invalid_value",
                f"{name[:40]!r} is no format.",
                hint=f"Use one of {', '.join(self._channels)}.",
                param="format",
            )
        return found

    def seal(self, text: str) -> str:
        """A text as it is kept."""
        return self._seal.seal(text)

    def new_secret(self) -> str:
        """A fresh signing secret, to be shown once."""
        return secret_text(self._entropy(SECRET_BYTES))

    def open(self, webhook: Webhook, now_us: int) -> Opened | None:
        """The target; None when it was sealed with another encryption key, or its format is gone."""
        channel, text = self._channels.get(webhook.format), self._seal.unseal(webhook.target)
        if channel is None or text is None:
            return None
        sealed = [webhook.secret]
        if webhook.old_secret is not None and now_us < (webhook.old_secret_until_us or 0):
            sealed.append(webhook.old_secret)
        secrets = [self._seal.unseal(each) for each in sealed if each]
        return Opened(channel, channel.read(text), text, tuple(each for each in secrets if each is not None))
