"""Opens one connection: DNS, then TCP to whichever address answers first, then TLS.

The race between addresses is ours (RFC 8305, "happy eyeballs"): asyncio has one, uvloop tries addresses
one after the other, and a dead IPv6 route would cost every new connection the kernel's own timeout.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

from gateway.relay.calls import Target, UpstreamFailure
from gateway.relay.connection import Connection

__all__ = ["Address", "Dialer", "LookUp", "connect_first", "interleave", "look_up"]

# RFC 8305 5: how long the tries under way have before the next address joins them.
_STAGGER_S: Final = 0.25
# Shorter than the life that providers give their names (one to five minutes).
_NAME_KEPT_S: Final = 30.0
# A silent connection is probed after a minute, so that a peer that vanished behind a firewall is noticed
# during a long think and the state on the way does not expire.
_KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 60),
    (socket.TCP_KEEPINTVL, 60),
    (socket.TCP_KEEPCNT, 5),
)


class Address(NamedTuple):
    """Where a socket can be connected to."""

    family: int
    sockaddr: Any  # a pair for IPv4, four values for IPv6


LookUp = Callable[[Target], Awaitable[list[Address]]]


class Dialer:
    """Opens connections to one target, and remembers its addresses for a moment.

    A burst of new connections asks DNS once, not once each; and while DNS is away, the addresses it gave
    last are good enough to try.
    """

    def __init__(self, target: Target, tls: ssl.SSLContext, look_up: LookUp) -> None:
        self._target = target
        self._look_up = look_up
        self._tls = tls if target.scheme == "https" else None
        self._addresses: list[Address] = []
        self._known_until = 0.0  # on the loop's clock
        self._asking = asyncio.Lock()

    async def dial(self, make: Callable[[], Connection]) -> Connection | UpstreamFailure:
        """A ready connection or the reason why there is none. Cancel it to end it early."""
        target = self._target
        try:
            addresses = await self._resolve()
        except (OSError, UnicodeError) as error:
            return UpstreamFailure("dns", "no", f"The name {target.host} has no address: {_words(error)}.")
        try:
            sock = await connect_first(addresses)
        except OSError as error:
            self._known_until = 0.0
            detail = f"No connection to {target.authority}: {_words(error)}."
            return UpstreamFailure("connect", "no", detail)
        try:
            return await self._set_up(sock, make)
        except OSError as error:  # an ssl.SSLError is one too
            sock.close()
            detail = f"No trusted connection to {target.authority}: {_words(error)}."
            return UpstreamFailure("tls", "no", detail)
        except BaseException:
            sock.close()
            raise

    async def _set_up(self, sock: socket.socket, make: Callable[[], Connection]) -> Connection:
        loop = asyncio.get_running_loop()
        name = None if self._tls is None else self._target.host
        _, connection = await loop.create_connection(make, sock=sock, ssl=self._tls, server_hostname=name)
        return connection

    async def _resolve(self) -> list[Address]:
        """All addresses of the host, the system's first choice first (RFC 6724), families taking turns."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now >= self._known_until:
                try:
                    self._addresses = interleave(await self._look_up(self._target))
                    self._known_until = now + _NAME_KEPT_S
                except (OSError, UnicodeError):
                    if not self._addresses:
                        raise
            return self._addresses


async def look_up(target: Target) -> list[Address]:
    """What the system says. Raises OSError or UnicodeError for a name without an address."""
    host, port = target.host, target.port
    try:
        # An address needs no look-up, and so no thread.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [Address(family, sockaddr) for family, _, _, _, sockaddr in found]


def interleave(addresses: list[Address]) -> list[Address]:
    """The same addresses with the families taking turns, so that one broken family costs one stagger."""
    first = [each for each in addresses if each.family == addresses[0].family]
    other = [each for each in addresses if each.family != addresses[0].family]
    return [each for each in chain.from_iterable(zip_longest(first, other)) if each is not None]


async def connect_first(addresses: list[Address]) -> socket.socket:
    """Race the addresses; raises the last OSError when none answers."""
    waiting = list(reversed(addresses))
    trying: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("no address")
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(_connect(waiting.pop())))
            patience = _STAGGER_S if waiting else None
            done, _ = await asyncio.wait(trying, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                trying.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                failure = error
    finally:
        await _give_up(trying)
    raise failure


async def _give_up(trying: set[asyncio.Task[socket.socket]]) -> None:
    """End the tries that lost; one that had connected meanwhile is closed."""
    for task in trying:
        task.cancel()
    for result in await asyncio.gather(*trying, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


async def _connect(address: Address) -> socket.socket:
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
        await asyncio.get_running_loop().sock_connect(sock, address.sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


def _words(error: Exception) -> str:
    """What went wrong, in the system's words and without addresses."""
    match error:
        case ssl.SSLCertVerificationError():
            return error.verify_message
        case ssl.SSLError() | socket.gaierror():  # their errno is not the system's
            return error.strerror or "unknown"
        case OSError(errno=int(number)):
            return os.strerror(number)
    return str(error)
