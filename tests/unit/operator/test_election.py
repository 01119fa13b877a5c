"""Leader election on a model API server, in virtual time: never two lead, and soon one does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from evalrun_operator.election import Election, LeaseLost
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import NotLeading
from evalrun_operator.kube.objects import CONFIG_MAPS
from evalrun_operator.settings import ElectionSettings
from support.evalruns import NOON
from support.model_api import ModelApiServer, Ref
from support.model_cluster import Time
from support.operator_process import Connection, Faults, ModelClient
from support.virtual_time import run

SETTINGS = ElectionSettings(namespace="system")
LEASE = Ref("leases", "system", "evalrun-operator")
TAKE_OVER_S = 18.0
"""15 s without a renewal, and the pause between two looks with its jitter."""


@dataclass
class Candidate:
    """A process that may lead, with a connection that a test can cut."""

    name: str
    server: ModelApiServer
    faults: Faults = field(default_factory=Faults)
    hours_off: float = 0.0
    lost_at: float | None = None

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        rng = random.Random(self.name)
        connection = Connection(
            self.server, Time(loop, rng), rng, self.faults, lambda: None, lambda: True, lambda: None
        )
        self.election = Election(
            ModelClient(connection),
            SETTINGS,
            self.name,
            clock=loop.time,
            now=lambda: NOON + timedelta(hours=self.hours_off, seconds=loop.time()),
            chance=rng.random,
        )
        self.client: Client = ModelClient(connection, self.election.seconds_left)
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.election.win()
        try:
            await self.election.keep()
        except LeaseLost:
            self.lost_at = asyncio.get_running_loop().time()

    def cut_off(self) -> None:
        """Lose every request from now on."""
        self.faults.share, self.faults.kinds, self.faults.over_at = 1.0, ("lost",), float("inf")

    async def die(self) -> None:
        """End without a word."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    @property
    def may_write(self) -> bool:
        return self.election.seconds_left() > 0


def play(scene: Callable[[ModelApiServer], Awaitable[None]]) -> None:
    """Play a scene in virtual time; whoever is still there ends with it."""

    async def with_server() -> None:
        loop = asyncio.get_running_loop()
        await scene(ModelApiServer(lambda: NOON + timedelta(seconds=loop.time())))

    run(with_server())


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """Wait for a condition; return how long that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        assert loop.time() - began < seconds, f"it did not happen within {seconds} s"
        await asyncio.sleep(0.1)
    return loop.time() - began


async def leader_and_standby(server: ModelApiServer, hours_off: float = 0.0) -> tuple[Candidate, Candidate]:
    """Let a candidate lead, and another one stand by, whose wall clock may be wrong."""
    first = Candidate("first", server)
    await until(lambda: first.may_write, 1)
    return first, Candidate("second", server, hours_off=hours_off)


def test_one_leads_and_the_other_stands_by() -> None:
    async def scene(server: ModelApiServer) -> None:
        first, second = await leader_and_standby(server)
        await asyncio.sleep(600)
        assert (first.may_write, second.may_write) == (True, False)
        assert second.election.heard, "it could take over"
        assert server.objects[LEASE]["spec"]["leaseTransitions"] == 0

    play(scene)


def test_a_dead_leader_is_replaced_within_seconds() -> None:
    async def scene(server: ModelApiServer) -> None:
        first, second = await leader_and_standby(server)
        await asyncio.sleep(60)
        await first.die()
        assert await until(lambda: second.may_write, TAKE_OVER_S) > 10
        assert server.objects[LEASE]["spec"]["holderIdentity"] == "second"
        assert server.objects[LEASE]["spec"]["leaseTransitions"] == 1

    play(scene)


def test_a_leader_that_is_cut_off_stops_before_another_one_begins() -> None:
    async def scene(server: ModelApiServer) -> None:
        first, second = Candidate("first", server), Candidate("second", server)
        await until(lambda: first.may_write or second.may_write, 5)
        leader, other = (first, second) if first.may_write else (second, first)
        await asyncio.sleep(7)
        cut_at = asyncio.get_running_loop().time()
        leader.cut_off()
        await until(lambda: not leader.may_write, 10.2)
        assert not other.may_write
        await until(lambda: leader.lost_at is not None, 1)
        assert await until(lambda: other.may_write, 10) > 2.5, "in between nobody leads"
        assert leader.lost_at is not None
        assert leader.lost_at - cut_at <= SETTINGS.renew_seconds

    play(scene)


def test_releasing_hands_over_at_once() -> None:
    async def scene(server: ModelApiServer) -> None:
        first, second = await leader_and_standby(server)
        await asyncio.sleep(60)
        await first.die()
        assert first.may_write, "it ends its work first"
        await first.election.release()
        assert not first.may_write
        await until(lambda: second.may_write, 3)

    play(scene)


def test_releasing_takes_the_lease_from_nobody() -> None:
    async def scene(server: ModelApiServer) -> None:
        first, second = await leader_and_standby(server)
        first.cut_off()
        await until(lambda: second.may_write, 30)
        first.faults.share = 0.0
        await first.election.release()
        assert server.objects[LEASE]["spec"]["holderIdentity"] == "second"

    play(scene)


@pytest.mark.parametrize("hours", [-48.0, 48.0])
def test_clocks_are_not_compared(hours: float) -> None:
    async def scene(server: ModelApiServer) -> None:
        first, second = await leader_and_standby(server, hours_off=hours)
        await asyncio.sleep(300)
        assert (first.may_write, second.may_write) == (True, False)

    play(scene)


@pytest.mark.parametrize(
    "spec", [{}, {"holderIdentity": None}, {"holderIdentity": "gone", "leaseDurationSeconds": "soon"}, None]
)
def test_a_damaged_lease_is_taken(spec: Any) -> None:
    async def scene(server: ModelApiServer) -> None:
        server.create("leases", "system", {"metadata": {"name": LEASE.name}, "spec": spec})
        first = Candidate("first", server)
        await until(lambda: first.may_write, TAKE_OVER_S)

    play(scene)


def test_a_deleted_lease_is_made_again() -> None:
    async def scene(server: ModelApiServer) -> None:
        first = Candidate("first", server)
        await until(lambda: first.may_write, 1)
        server.delete(LEASE)
        await asyncio.sleep(5)
        assert first.may_write
        assert server.objects[LEASE]["spec"]["holderIdentity"] == "first"

    play(scene)


def test_who_does_not_lead_reads_and_writes_nothing() -> None:
    async def scene(server: ModelApiServer) -> None:
        leader = Candidate("leader", server)
        await until(lambda: leader.may_write, 1)
        other = Candidate("other", server)
        assert [one async for one in other.client.list_objects(CONFIG_MAPS, "team")] == []
        before = dict(server.objects)
        body = {"metadata": {"name": "x"}}
        with pytest.raises(NotLeading, match="does not lead"):
            await other.client.create(CONFIG_MAPS, "team", body)
        with pytest.raises(NotLeading):
            await other.client.patch(CONFIG_MAPS, "team", "x", "u", body)
        with pytest.raises(NotLeading):
            await other.client.apply_status(CONFIG_MAPS, "team", "x", "u", body)
        with pytest.raises(NotLeading):
            await other.client.delete(CONFIG_MAPS, "team", "x", "u")
        assert server.objects == before
        await leader.client.create(CONFIG_MAPS, "team", body)
        assert Ref("configmaps", "team", "x") in server.objects

    play(scene)


def test_terms_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="retrySeconds < renewSeconds < leaseSeconds"):
        ElectionSettings(namespace="system", lease_seconds=10, renew_seconds=15)


@pytest.mark.parametrize("block", range(4))
def test_never_two_lead_whatever_is_lost_and_soon_one_does(block: int) -> None:
    """Three candidates whose requests are lost, unheard, late and refused, and who die and return."""
    for seed in range(block, 60, 4):

        async def scene(server: ModelApiServer, seed: int = seed) -> None:
            rng = random.Random(seed)
            kinds = ("lost", "unheard", "slow", "409", "500", "429", "403", "401")
            candidates = [
                Candidate(
                    f"c{number}-{seed}",
                    server,
                    Faults(share=rng.choice((0.0, 0.2, 0.6, 0.95)), kinds=kinds, over_at=120.0),
                    hours_off=rng.uniform(-5, 5),
                )
                for number in range(3)
            ]
            loop = asyncio.get_running_loop()
            born = len(candidates)
            while loop.time() < 200:
                await asyncio.sleep(0.25)
                leading = [one.election.identity for one in candidates if one.may_write]
                assert len(leading) <= 1, f"seed {seed}, at {loop.time():.1f} s: {leading} lead"
                if loop.time() < 120 and rng.random() < 0.01:
                    one = rng.choice(candidates)
                    candidates.remove(one)
                    await one.die()
                    if rng.random() < 0.5:
                        await one.election.release()
                    candidates.append(Candidate(f"c{born}-{seed}", server, one.faults))
                    born += 1
                for one in [one for one in candidates if one.lost_at is not None]:
                    candidates.remove(one)
                    candidates.append(Candidate(f"c{born}-{seed}", server, one.faults))
                    born += 1
            assert leading, f"seed {seed}: nobody leads"

        play(scene)
