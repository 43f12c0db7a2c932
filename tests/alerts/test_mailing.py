"""Mail is handed to a real server of the SMTP dialect."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import gateway.alerts.channels
from gateway.alerts.mailing import Mailer, MailFailed, MailServer
from gateway.alerts.sending import Sender
from gateway.alerts.targets import Opened
from gateway.registry import scan
from gateway.relay.calls import Limits
from gateway.relay.client import Client
from tests.alerts.channels_made import message


class Post:
    """What a mail server took; `refuses` names the command it answers 550 to."""

    def __init__(self) -> None:
        self.port = 0
        self.lines: list[str] = []
        self.mail = ""
        self.refuses = ""


@contextmanager
def post_office() -> Iterator[Post]:
    post = Post()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, line: str) -> None:
            self.wfile.write(line.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 here")
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                post.lines.append(line)
                verb = line[:4].upper()
                if verb == post.refuses:
                    self.say("550 not here")
                elif verb == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN")
                elif verb == "AUTH":
                    self.say("235 welcome")
                elif verb == "DATA":
                    self.say("354 go on")
                    post.mail = "".join(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 fine")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        post.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield post
        server.shutdown()
        thread.join()


def mailer(port: int, user: str = "") -> Mailer:
    return Mailer(MailServer.parse(f"smtp+plain://{user}127.0.0.1:{port}", "tollgate@example.com"))


async def test_a_message_is_handed_in_with_its_sender() -> None:
    with post_office() as post:
        await mailer(post.port, "me:p%40ss@").mail(
            "finance@example.com", b"To: finance@example.com\r\n\r\nHi\r\n"
        )
    assert "mail FROM:<tollgate@example.com>" in post.lines[2]
    assert "rcpt TO:<finance@example.com>" in post.lines[3]
    assert base64.b64decode(post.lines[1].split()[-1]) == b"\0me\0p@ss"
    assert post.mail == "From: tollgate@example.com\r\nTo: finance@example.com\r\n\r\nHi\r\n"


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
async def test_a_refusal_has_its_status(verb: str) -> None:
    with post_office() as post:
        post.refuses = verb
        with pytest.raises(MailFailed, match="550: not here") as failed:
            await mailer(post.port).mail("finance@example.com", b"\r\n")
    assert failed.value.status == 550


async def test_a_server_that_is_not_there_is_a_reason() -> None:
    with post_office() as post:
        pass
    with pytest.raises(MailFailed, match="refused"):
        await mailer(post.port).mail("finance@example.com", b"\r\n")


def test_the_address_of_a_server() -> None:
    read = MailServer.parse("smtps://user:secret@mail.example.com", "a@b.example")
    assert (read.host, read.port, read.tls, read.username, read.password) == (
        "mail.example.com", 465, "tls", "user", "secret",
    )  # fmt: skip
    assert MailServer.parse("smtp://mail.example.com", "a@b.example").tls == "starttls"
    for url, sender in (
        ("mail.example.com", "a@b"),
        ("smtp://", "a@b"),
        ("smtp://host", "nobody"),
        ("smtp://h/x", "a@b"),
    ):
        with pytest.raises(ValueError, match=r"write|address"):
            MailServer.parse(url, sender)


async def test_an_event_is_mailed_to_its_target() -> None:
    channel = scan(gateway.alerts.channels, "CHANNEL")["email"]
    place = channel.read("finance@example.com")
    opened = Opened(channel, place, "finance@example.com", ())
    with post_office() as post:
        sender = Sender(Client(Limits()), mailer(post.port))
        assert (await sender.send(opened, message("budget.exceeded"), 0)).is_delivered
        assert "refuses calls: $20 of $25 spent" in post.mail
        post.refuses = "RCPT"
        failed = await sender.send(opened, message("budget.exceeded"), 0)
    assert (failed.status, failed.is_delivered) == (550, False)
    without = await Sender(Client(Limits()), None).send(opened, message("budget.exceeded"), 0)
    assert without.error == "no mail server is configured"
