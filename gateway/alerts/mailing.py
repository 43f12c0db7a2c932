"""Mail by SMTP, on threads of its own: a mail server that hangs keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

__all__ = ["MailFailed", "MailServer", "Mailer"]

THREADS: Final = 2
STEP_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `tls`: from the first byte, by STARTTLS, or not at all."""

    host: str
    port: int
    tls: Literal["tls", "starttls", "none"]
    username: str
    password: str
    sender: str

    @classmethod
    def parse(cls, url: str, sender: str) -> MailServer:
        """`smtp://` (STARTTLS, port 587), `smtps://` (TLS, 465) or `smtp+plain://` (neither, 25); a user and
        a password may stand before the host. ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("write smtp://user:password@host:port")
        if "@" not in sender or not sender.isprintable():
            raise ValueError("mail needs an address to come from")
        tls, port = _SCHEMES[parts.scheme]
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(parts.hostname, parts.port or port, tls, user, password, sender)


_SCHEMES: Final[Mapping[str, tuple[Literal["tls", "starttls", "none"], int]]] = {
    "smtp": ("starttls", 587),
    "smtps": ("tls", 465),
    "smtp+plain": ("none", 25),
}


class MailFailed(Exception):
    """The server did not take a message; `status` is what SMTP answered, if it did."""

    def __init__(self, status: int | None, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Mailer:
    """Hands messages to one server, a connection for each."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail")

    async def mail(self, address: str, message: bytes) -> None:
        """Send a message (headers and text, without From). Raises MailFailed."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._hand_in, address, message)

    def stop(self) -> None:
        """Begin no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hand_in(self, address: str, message: bytes) -> None:
        server = self._server
        try:
            with self._connected() as connection:
                if server.username:
                    connection.login(server.username, server.password)
                text = b"From: " + server.sender.encode() + b"\r\n" + message
                connection.sendmail(server.sender, [address], text)
        except smtplib.SMTPResponseException as error:
            raise MailFailed(error.smtp_code, f"SMTP {error.smtp_code}: {_words(error.smtp_error)}") from None
        except smtplib.SMTPRecipientsRefused as error:
            [(status, words)] = error.recipients.values()
            raise MailFailed(status, f"SMTP {status}: {_words(words)}") from None
        except (OSError, smtplib.SMTPException) as error:
            raise MailFailed(None, f"no mail by {server.host}: {error}") from None

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        if server.tls == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(server.host, server.port, timeout=STEP_LIMIT_S, context=context)
        connection = smtplib.SMTP(server.host, server.port, timeout=STEP_LIMIT_S)
        if server.tls == "starttls":
            try:
                connection.starttls(context=ssl.create_default_context())
            except BaseException:
                connection.close()
                raise
        return connection


def _words(text: bytes | str) -> str:
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return "".join(each if each.isprintable() else " " for each in shown)[:200]
