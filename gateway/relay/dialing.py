"""Opens one connection: DNS, then TCP to whichever address answers first, then TLS.

The race between addresses is ours (RFC 8305, "happy eyeballs"): asyncio has one, uvloop tries addresses
one after the other, and a dead IPv6 route would cost every new connection the kernel's own timeout.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any, Final, NamedTuple

from gateway.relay.calls import Target, UpstreamFailure
from gateway.relay.connection import Connection

__all__ = ["Address", "connect_first", "dial", "interleave"]

# RFC 8305 5: how long the tries under way have before the next address joins them.
_STAGGER_S: Final = 0.25
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


async def dial(
    target: Target, tls: ssl.SSLContext, make: Callable[[], Connection]
) -> Connection | UpstreamFailure:
    """A ready connection or the reason why there is none. Cancel it to end it early."""
    try:
        addresses = await _resolve(target)
    except (OSError, UnicodeError) as error:
        return UpstreamFailure("dns", "no", f"The name {target.host} has no address: {_words(error)}.")
    try:
        sock = await connect_first(addresses)
    except OSError as error:
        return UpstreamFailure("connect", "no", f"No connection to {target.authority}: {_words(error)}.")
    loop = asyncio.get_running_loop()
    try:
        if target.scheme == "https":
            _, connection = await loop.create_connection(
                make, sock=sock, ssl=tls, server_hostname=target.host
            )
        else:
            _, connection = await loop.create_connection(make, sock=sock)
    except OSError as error:  # an ssl.SSLError is one too
        sock.close()
        return UpstreamFailure("tls", "no", f"No trusted connection to {target.authority}: {_words(error)}.")
    except BaseException:
        sock.close()
        raise
    return connection


async def _resolve(target: Target) -> list[Address]:
    """All addresses of the host, the system's first choice first (RFC 6724), families taking turns."""
    try:
        # An address needs no look-up, and so no thread.
        found = socket.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return interleave([Address(family, sockaddr) for family, _, _, _, sockaddr in found])


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
                    trying.update(done - {task})  # a second winner of this round is closed below
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
    """What the system says, without numbers and addresses where it can."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)
