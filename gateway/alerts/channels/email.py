"""Mail: a subject, a sentence and the facts, as plain text (RFC 5322)."""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from gateway.alerts.channels.base import Channel, Mailbox, Message, invalid_target
from gateway.alerts.channels.words import facts, headline
from gateway.domain.instants import mail_date, parse_rfc3339

__all__ = ["CHANNEL"]

_ADDRESS: Final = re.compile(r"[0-9A-Za-z.!#$%&'*+/=?^_`{|}~-]{1,64}@[0-9A-Za-z.-]{1,190}", re.ASCII)


def read(text: str) -> Mailbox:
    """The address, with or without `mailto:`."""
    address = text.removeprefix("mailto:")
    if _ADDRESS.fullmatch(address) is None:
        error = invalid_target("The target is no mail address.")
        error.hint = "Give one address, such as finance@example.com."
        raise error
    return Mailbox(address)


def render(message: Message, target: str) -> bytes:
    """A whole message but for From. Its Message-ID is the event's, so that a second copy is known as one."""
    mail = EmailMessage(policy=SMTP)
    mail["To"] = read(target).address
    mail["Subject"] = f"[Tollgate] {headline(message)}"[:200]
    mail["Date"] = mail_date(parse_rfc3339(message.at) or 0)
    mail["Message-ID"] = f"<{message.id}@tollgate>"
    mail["Auto-Submitted"] = "auto-generated"
    lines = [headline(message), "", *(f"{name}: {value}" for name, value in facts(message)), "", message.id]
    mail.set_content("\n".join(lines) + "\n")
    return mail.as_bytes()


CHANNEL: Final = Channel("email", read, str, render)
