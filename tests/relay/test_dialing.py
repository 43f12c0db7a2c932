"""Several addresses behind one name. Loopback has plenty, and none of them needs DNS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

import pytest

from gateway.relay.calls import Counters, Limits, Target, UpstreamFailure
from gateway.relay.connection import Connection
from gateway.relay.dialing import Address, Dialer, connect_first, interleave, look_up
from gateway.relay.pool import Pool
from tests.relay.scripted import rounds


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


class Names:
    """A name service that counts, and can be switched off."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def look_up(self, target: Target) -> list[Address]:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self.addresses


async def dial(dialer: Dialer, pool: Pool) -> UpstreamFailure | None:
    """Open a connection and close it again."""
    result = await dialer.dial(lambda: Connection(pool))
    if isinstance(result, UpstreamFailure):
        return result
    result.abort()
    await rounds()
    return None


@pytest.fixture
async def pool() -> Pool:
    return Pool(Target("http", "api.test", 80), ssl.create_default_context(), Limits(), Counters())


async def test_a_burst_asks_for_the_name_once(pool: Pool, living: Address) -> None:
    names = Names(living)
    dialer = Dialer(pool.target, ssl.create_default_context(), names.look_up)
    assert await asyncio.gather(*(dial(dialer, pool) for _ in range(5))) == [None] * 5
    assert names.asked == 1


async def test_a_cancelled_look_up_passes_to_the_next_dial(pool: Pool, living: Address) -> None:
    names = Names(living)
    dialer = Dialer(pool.target, ssl.create_default_context(), names.look_up)
    first = asyncio.create_task(dial(dialer, pool))
    second = asyncio.create_task(dial(dialer, pool))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is None
    assert names.asked == 2


async def test_an_address_that_fails_is_asked_for_again(
    pool: Pool, refusing: Address, living: Address
) -> None:
    names = Names(refusing)
    dialer = Dialer(pool.target, ssl.create_default_context(), names.look_up)
    failure = await dial(dialer, pool)
    assert failure is not None
    assert (failure.kind, failure.detail) == ("connect", "No connection to api.test: Connection refused.")
    names.addresses = [living]
    assert await dial(dialer, pool) is None
    assert names.asked == 2


async def test_known_addresses_outlive_the_name_service(pool: Pool, refusing: Address) -> None:
    names = Names(refusing)
    dialer = Dialer(pool.target, ssl.create_default_context(), names.look_up)
    await dial(dialer, pool)
    names.addresses = []
    failure = await dial(dialer, pool)
    assert failure is not None
    assert failure.kind == "connect"  # the known address was tried; never `dns`
    assert names.asked == 2


async def test_a_name_that_was_never_known(pool: Pool) -> None:
    failure = await dial(Dialer(pool.target, ssl.create_default_context(), Names().look_up), pool)
    assert failure == UpstreamFailure(
        "dns", "no", "The name api.test has no address: Temporary failure in name resolution."
    )


async def test_the_system_knows_itself() -> None:
    assert await look_up(Target("http", "127.0.0.1", 80)) == [Address(socket.AF_INET, ("127.0.0.1", 80))]
    assert Address(socket.AF_INET, ("127.0.0.1", 80)) in await look_up(Target("http", "localhost", 80))


def test_families_take_turns() -> None:
    six = [Address(socket.AF_INET6, ("::1", port, 0, 0)) for port in (1, 2, 3)]
    four = [Address(socket.AF_INET, ("127.0.0.1", port)) for port in (1,)]
    assert interleave([*six, *four]) == [six[0], four[0], six[1], six[2]]
    assert interleave([*four, *six]) == [four[0], *six]
    assert interleave(four) == four
