"""One attempt: a message goes out, the answer comes back. No redirect is followed, nothing is unbounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.alerts.channels.base import Mailbox, Message, Url
from gateway.alerts.mailing import Mailer, MailFailed
from gateway.alerts.signing import signed_headers
from gateway.alerts.targets import Opened
from gateway.relay.calls import Timeouts, UpstreamFailure
from gateway.relay.client import Client
from gateway.relay.requests import build_request

__all__ = ["ATTEMPT_LIMIT_S", "Result", "Sender"]

ATTEMPT_LIMIT_S: Final = 15.0
EXCERPT_BYTES: Final = 500
# A target that says more than this is not listened to any further; its status counts.
ANSWER_MAX_BYTES: Final = 64 * 1024
_TIMEOUTS: Final = Timeouts(connect_s=5.0, first_byte_s=ATTEMPT_LIMIT_S, idle_s=ATTEMPT_LIMIT_S)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt: a status, or the reason why there is none."""

    status: int | None
    error: str | None = None
    retry_after_s: int | None = None

    @property
    def is_delivered(self) -> bool:
        """Only 2xx is; a redirect is not."""
        return self.error is None and self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """410: the target does not want anything any more."""
        return self.status == 410

    @property
    def is_the_targets(self) -> bool:
        """Whether the target is to blame and not this message: then others need not try it now."""
        return self.status is None or self.status >= 500 or self.status in (408, 425, 429)


class Sender:
    """Sends by HTTP and by mail. The client's resolver decides who may be connected to (`alerts.egress`)."""

    def __init__(self, client: Client, mailer: Mailer | None) -> None:
        """`mailer` is None where no mail server is configured."""
        self._client = client
        self._mailer = mailer

    async def send(self, opened: Opened, message: Message, at_s: int) -> Result:
        """One attempt at `at_s` (Unix time), within `ATTEMPT_LIMIT_S`."""
        body = opened.channel.render(message, opened.text)
        if isinstance(opened.place, Mailbox):
            return await self._mail(opened.place, body)
        headers = [(b"content-type", b"application/json")]
        if opened.channel.is_signed:
            headers += signed_headers(opened.secrets, message.id, at_s, body)
        return await self._post(opened.place, headers, body)

    async def _post(self, url: Url, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Result:
        request = build_request("POST", url.path, url.target.authority, headers, body)
        answer = _Answer()
        handle = self._client.send(url.target, request, answer, _TIMEOUTS)
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                await answer.heard
        except TimeoutError:
            answer.fail(f"no answer within {ATTEMPT_LIMIT_S:.0f} s")
        finally:
            handle.cancel()
        return answer.result()

    async def _mail(self, mailbox: Mailbox, body: bytes) -> Result:
        if self._mailer is None:
            return Result(None, "no mail server is configured")
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT_S):
                await self._mailer.mail(mailbox.address, body)
        except TimeoutError:
            return Result(None, f"no answer within {ATTEMPT_LIMIT_S:.0f} s")
        except MailFailed as failure:
            return Result(failure.status, str(failure))
        return Result(250)


class _Answer:
    """Listens to one response, and to no more of it than it needs."""

    def __init__(self) -> None:
        self.heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._status: int | None = None
        self._error: str | None = None
        self._retry_after_s: int | None = None
        self._excerpt = b""
        self._size = 0

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self._status = status
        text = dict(headers).get(b"retry-after", b"").strip()
        if text.isdigit() and len(text) <= 9:
            self._retry_after_s = int(text)

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        self._excerpt = (self._excerpt + data)[:EXCERPT_BYTES]
        if self._size > ANSWER_MAX_BYTES:
            self._end()

    def on_end(self) -> None:
        self._end()

    def on_failed(self, failure: UpstreamFailure) -> None:
        self.fail(failure.detail)
        self._end()

    def fail(self, reason: str) -> None:
        """There is no whole answer. A status that was heard counts all the same."""
        if self._status is None:
            self._error = reason

    def result(self) -> Result:
        """What was heard; what a refusal said is kept for the log."""
        error = self._error
        if error is None and self._status is not None and not 200 <= self._status < 300:
            said = "".join(each for each in self._excerpt.decode("utf-8", "replace") if each.isprintable())
            error = f"HTTP {self._status}: {said}" if said else f"HTTP {self._status}"
        return Result(self._status, error, self._retry_after_s)

    def _end(self) -> None:
        if not self.heard.done():
            self.heard.set_result(None)
