"""Replicas as Ray actors. The only module that imports ray.

Actors never restart by themselves (``max_restarts=0``) and calls run at most once: whether a chunk is done is decided
by the ledger, not by Ray. Nothing large goes through Ray: orders and reports are small, results go to the store.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.engine.tokens import first_line
from evalrun_runner.errors import InputError, LedgerCorrupt, RunFailed, StoreError
from evalrun_runner.fleet import Answered, FleetEvent, Gone, Joined, Refused
from evalrun_runner.ray_environment import OBJECT_STORE_BYTES, RAY_ENVIRONMENT
from evalrun_runner.records import Order
from evalrun_runner.replica.replica import Replica, ReplicaSettings

LOAD_SECONDS = 1800.0
"""A replica that has not loaded its engine by then is killed."""
NO_REPLACEMENT_MENDS = (InputError, StoreError, LedgerCorrupt)
"""What another replica would say as well; anything else may be this one's GPU or machine."""
START_TRIES = 3
"""On a busy machine Ray's own helpers miss its fixed 15 s for their start."""


def _import_ray() -> Any:
    # A token guards every port of this Ray; it must be in the environment before ray is imported.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    return ray


class ReplicaActor:
    """The Ray actor: a ``Replica`` in a process of its own."""

    def __init__(self, name: str, settings: ReplicaSettings) -> None:
        self._replica = Replica(name, settings)

    def load(self) -> dict[str, object]:
        """Load the engine."""
        return {"host": socket.gethostname(), **self._replica.load()}

    def exchange(self, order: Order, wait: float) -> Any:
        """One round of the conversation with the driver."""
        return self._replica.exchange(order, wait)


@dataclass(slots=True)
class _Member:
    actor: Any
    started: float
    joined: bool = False
    killed: bool = False
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class RaySettings:
    """``address`` None starts a Ray of this process's own; else the address of a running cluster."""

    address: str | None = None
    gpus_per_replica: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    """For the replicas' processes."""


class RayFleet:
    """A ``Fleet`` of Ray actors. ``writer`` prefixes the replicas' names, unique among all drivers of a run."""

    def __init__(self, count: int, settings: ReplicaSettings, ray_settings: RaySettings, *, writer: str) -> None:
        self._ray = _import_ray()
        self._settings = settings
        self._ray_settings = ray_settings
        self._writer = writer
        self._count = count
        self._started = 0
        self._members: dict[str, _Member] = {}
        self._calls: dict[Any, str] = {}
        self._connect()
        self._actor = self._ray.remote(ReplicaActor)
        for _ in range(count):
            self.add()

    def _connect(self) -> None:
        local = self._ray_settings.address is None
        options: dict[str, Any] = {"address": "local" if local else self._ray_settings.address}
        if local:
            options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for tries_left in reversed(range(START_TRIES)):
            try:
                self._ray.init(log_to_driver=False, logging_level="ERROR", **options)
                self._check_gpus(local=local)
                return
            except InputError:
                raise
            # Ray's start raises bare Exceptions, so nothing narrower can be named.
            except Exception as error:
                self._ray.shutdown()
                if not tries_left:
                    where = "on this machine" if local else f"at {self._ray_settings.address}"
                    raise RunFailed(f"Ray could not be started {where}: {first_line(error)}") from error
            finally:
                # Ray puts a SIGTERM handler of its own over ours, which would end the driver without a flush.
                if threading.current_thread() is threading.main_thread():
                    for number, handler in handlers.items():
                        signal.signal(number, handler)

    def _check_gpus(self, *, local: bool) -> None:
        """An actor that asks for more than there is would wait for ever."""
        wanted, there = self._count * self._ray_settings.gpus_per_replica, self._ray.cluster_resources().get("GPU", 0)
        if local and wanted > there:
            self._ray.shutdown()
            raise InputError(
                f"spec.replicas.count {self._count} with tensorParallelSize {self._ray_settings.gpus_per_replica} "
                f"needs {wanted} GPUs, this machine has {there:g}; set fewer replicas or a smaller tensorParallelSize"
            )

    def add(self) -> None:
        """Start one more."""
        name = f"{self._writer}-r{self._started}"
        self._started += 1
        local = self._ray_settings.address is None
        actor = self._actor.options(
            name=name,
            num_cpus=0,
            num_gpus=self._ray_settings.gpus_per_replica,
            resources={} if local else {"replica": 1},
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": dict(self._ray_settings.environment)},
        ).remote(name, self._settings)
        self._members[name] = _Member(actor, time.monotonic())
        self._calls[actor.load.remote()] = name

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """What happened, waiting at most ``timeout`` seconds for something."""
        self._kill_those_that_never_load()
        if not self._calls:
            return []
        calls = list(self._calls)
        ready, _ = self._ray.wait(calls, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return [self._event(call, self._calls.pop(call)) for call in ready]

    def _kill_those_that_never_load(self) -> None:
        for name, member in self._members.items():
            if not member.joined and not member.killed and time.monotonic() - member.started > LOAD_SECONDS:
                self.kill(name)

    def _event(self, call: Any, name: str) -> FleetEvent:
        errors = self._ray.exceptions
        member = self._members[name]
        try:
            answer = self._ray.get(call)
        except errors.RayTaskError as error:
            self._forget(name)
            cause = error.cause
            if isinstance(cause, NO_REPLACEMENT_MENDS):
                return Refused(name, cause)
            return Gone(name, Departure.CRASHED, f"{type(cause).__name__}: {first_line(cause)}", not member.joined)
        except errors.RayError as error:
            self._forget(name)
            return Gone(name, _departure(member, error), _detail(error), not member.joined)
        if not member.joined:
            member.joined = True
            member.pid = answer["pid"]
            return Joined(name, answer)
        return Answered(name, answer)

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Answer a replica; it reports again within ``wait`` seconds."""
        if (member := self._members.get(replica)) is not None:
            self._calls[member.actor.exchange.remote(order, wait)] = replica

    def kill(self, replica: str) -> None:
        """End a replica that is silent or hangs; comes back as ``Gone``."""
        if (member := self._members.get(replica)) is None:
            return
        member.killed = True
        self._ray.kill(member.actor, no_restart=True)
        if self._ray_settings.address is None and member.pid is not None:
            # A stopped or wedged process does not hear Ray's request to exit.
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)

    def _forget(self, name: str) -> None:
        member = self._members.pop(name)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(member.actor, no_restart=True)

    def shutdown(self) -> None:
        """End all replicas; of a Ray that this process started, everything."""
        for name in list(self._members):
            self._forget(name)
        self._calls.clear()
        self._ray.shutdown()


def _departure(member: _Member, error: Exception) -> Departure:
    if member.killed:
        return Departure.KILLED_HUNG
    # Every message about a dead actor speaks of nodes; only these words say that the node was the cause.
    text = str(error)
    if "node has died" in text or "actor's node was" in text:
        return Departure.LOST
    return Departure.CRASHED


def _detail(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "exit" in line.lower() or "died" in line.lower() or "killed" in line.lower()]
    line = telling[-1] if telling else lines[0] if lines else type(error).__name__
    return line.partition(" Some common causes")[0][:400]
