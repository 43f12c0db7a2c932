"""Several addresses behind one name. Loopback has plenty, and none of them needs DNS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from gateway.relay.dialing import Address, connect_first, interleave


def address(sock: socket.socket) -> Address:
    return Address(socket.AF_INET, sock.getsockname())


@pytest.fixture
def living() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield address(listener)


@pytest.fixture
def refusing() -> Iterator[Address]:
    """A port that is taken and does not listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield address(bound)


@pytest.fixture
def silent() -> Iterator[Address]:
    """A listener whose queue is full: the kernel drops what else knocks, as a dead route would."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = [socket.socket() for _ in range(4)]
        for sock in queued:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield address(listener)
        for sock in queued:
            sock.close()


async def test_a_dead_route_costs_a_moment_and_not_the_call(silent: Address, living: Address) -> None:
    with await connect_first([silent, silent, living]) as sock:
        assert sock.getpeername() == living.sockaddr


async def test_a_refusal_passes_to_the_next_address_at_once(refusing: Address, living: Address) -> None:
    with await connect_first([refusing, refusing, living]) as sock:
        assert sock.getpeername() == living.sockaddr


async def test_the_first_address_is_taken_when_it_answers(living: Address, silent: Address) -> None:
    with await connect_first([living, silent]) as sock:
        assert sock.getpeername() == living.sockaddr


async def test_two_that_answer_at_once_leave_one_socket(living: Address) -> None:
    with await connect_first([living, living]) as sock:
        assert sock.getpeername() == living.sockaddr


async def test_nobody_answers(refusing: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        await connect_first([refusing, refusing])


async def test_a_cancelled_race_leaves_no_socket(silent: Address) -> None:
    race = asyncio.create_task(connect_first([silent, silent]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_socket_sends_at_once_and_notices_a_dead_peer(living: Address) -> None:
    with await connect_first([living]) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_families_take_turns() -> None:
    six = [Address(socket.AF_INET6, ("::1", port, 0, 0)) for port in (1, 2, 3)]
    four = [Address(socket.AF_INET, ("127.0.0.1", port)) for port in (1,)]
    assert interleave([*six, *four]) == [six[0], four[0], six[1], six[2]]
    assert interleave([*four, *six]) == [four[0], *six]
    assert interleave(four) == four
