"""Fleet of replicas as processes of one machine, started in two steps.

1. ``LocalStart`` starts processes as soon as the run's file is read. They import their engine's libraries, which takes
   longer than all checks of a run, and hold no GPU and no model.
2. When the preflight has passed, its ``fleet`` gives them their settings, and they load the model.

A run that is refused between the two ends them at once. Nothing of Ray runs here: a cluster has nodes to connect, a
machine has none.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from evalrun_runner.dispatch.policy import Departure
from evalrun_runner.engine.settings import EngineSettings
from evalrun_runner.engine.vllm import VllmSettings
from evalrun_runner.errors import EvalRunError, RunFailed, first_line
from evalrun_runner.fleet.conversation import Answer, Ask, Begin, Broken, Hello, Load, Loaded
from evalrun_runner.fleet.devices import VISIBLE, shares, visible_devices
from evalrun_runner.fleet.local_process import Ended, LocalProcess, Received
from evalrun_runner.fleet.protocol import Answered, Departed, FleetEvent, Joined, Refused
from evalrun_runner.machine import gpu_count, usable_cpus
from evalrun_runner.records.messages import Order, Report

if TYPE_CHECKING:
    from evalrun_runner.replica.settings import ReplicaSettings

START_SECONDS = 120.0
"""Maximum time for a process to say that it runs, in seconds; then it is killed. On a busy machine it takes ten."""
LOAD_SECONDS = 1800.0
"""Maximum time for a replica to load its engine, in seconds; then it is killed."""


@dataclass(frozen=True, slots=True)
class LocalMachine:
    """What replicas on this machine share."""

    cpus: int
    devices: tuple[str, ...] = ()
    """The GPUs that may be used, by the names that CUDA has for them."""


@dataclass(slots=True, eq=False)
class _Member:
    """One replica. Only the thread of the run touches it."""

    process: LocalProcess
    slot: int
    name: str = ""
    """Empty until it is given its settings."""
    spoke: bool = False
    joined: bool = False
    loading_since: float = 0.0
    killed: str = ""
    """Why it was killed, if it was."""


class LocalStart:
    """Replica processes that are ready to load an engine; those that still run end with the ``with`` block.

    Args:
        count: Number of replicas. Of these one fewer than there are CPUs starts ahead, so that the run's checks have a
            CPU of their own; the others start with the fleet.
        engine: The engine's settings, without the model.
        folder: Folder for the output of the processes.
        machine: This machine.
        gpus_per_replica: Number of GPUs that a replica has for itself; 0 if it uses none.

    Raises:
        InputError: There are too few GPUs.
        RunFailed: A process cannot be started.
    """

    def __init__(
        self,
        count: int,
        engine: EngineSettings,
        folder: Path,
        machine: LocalMachine,
        *,
        gpus_per_replica: int = 0,
    ) -> None:
        self._engine = replace(engine, replicas_per_host=count) if isinstance(engine, VllmSettings) else engine
        self._folder = folder
        self._shares = shares(machine.devices, count, gpus_per_replica)
        self._received: Received = queue.SimpleQueue()
        self.launched: list[_Member] = []
        """All processes that were started, also those that have ended."""
        try:
            for slot in range(min(count, max(1, machine.cpus - 1))):
                self.launch(slot)
        except RunFailed:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def launch(self, slot: int) -> _Member:
        """Start a process on the GPUs of a slot."""
        environment = dict(os.environ)
        if self._shares[slot]:
            environment[VISIBLE] = ",".join(self._shares[slot])
        output = self._folder / f"replica-{len(self.launched)}.log"
        try:
            process = LocalProcess(environment, output, self._received)
        except OSError as error:
            raise RunFailed(f"the process of a replica cannot be started: {error}") from error
        process.send(Begin(self._engine))
        member = _Member(process, slot)
        self.launched.append(member)
        return member

    def fleet(self, settings: ReplicaSettings, *, writer: str) -> LocalFleet:
        """Let the processes load the engine, as ``StartFleet``. The first that were not started ahead start now."""
        if isinstance(settings.engine, VllmSettings):
            engine = replace(settings.engine, replicas_per_host=len(self._shares))
            settings = replace(settings, engine=engine)
        for slot in range(len(self.launched), len(self._shares)):
            self.launch(slot)
        return LocalFleet(self, [*self.launched], self._received, settings, writer)

    def _end(self) -> None:
        for member in self.launched:
            member.process.kill()
        for member in self.launched:
            member.process.wait()


class LocalFleet:
    """``Fleet`` of processes. Only the thread of the run calls it."""

    def __init__(
        self, start: LocalStart, ready: Sequence[_Member], received: Received, settings: ReplicaSettings, writer: str
    ) -> None:
        self._start = start
        self._received = received
        self._settings = settings
        self._writer = writer
        self._started = 0
        self._members: dict[str, _Member] = {}
        self._slots = range(len(ready))
        for member in ready:
            self._load(member)

    @property
    def size(self) -> int:
        """Number of started replicas that have not departed, ready or not."""
        return len(self._members)

    @property
    def stages(self) -> tuple[str, ...]:
        """What each replica that is not ready does, in words for people."""
        now = time.monotonic()
        return tuple(_stage(member, now) for member in self._members.values() if not member.joined)

    def add(self) -> None:
        """Start one more replica in a slot that a departed one has left, if there is one."""
        taken = {member.slot for member in self._members.values()}
        if free := [slot for slot in self._slots if slot not in taken]:
            self._load(self._start.launch(free[0]))

    def _load(self, member: _Member) -> None:
        member.name = f"{self._writer}-r{self._started}"
        member.loading_since = time.monotonic()
        self._started += 1
        self._members[member.name] = member
        member.process.load(Load(member.name, self._settings))

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """Return new events, waiting at most ``timeout`` seconds for the first one."""
        events: list[FleetEvent] = []
        with contextlib.suppress(queue.Empty):
            events += self._events(*self._received.get(timeout=timeout))
            while True:
                events += self._events(*self._received.get_nowait())
        # All that was said is taken in: whoever has not spoken by now has not spoken.
        self._kill_late()
        return events

    def _events(self, process: LocalProcess, answer: Answer | Ended) -> list[FleetEvent]:
        member = next((one for one in self._members.values() if one.process is process), None)
        if member is None:
            return []  # it has departed
        match answer:
            case Hello():
                member.spoke = True
            case Loaded(facts):
                member.joined = True
                return [Joined(member.name, {"pid": process.pid, **facts})]
            case Report():
                return [Answered(member.name, answer)]
            case Broken(error, final):
                return [self._broken(member, error, final=final)]
            case Ended(code, output):
                return [self._ended(member, code, output)]
        return []

    def _broken(self, member: _Member, error: EvalRunError, *, final: bool) -> FleetEvent:
        del self._members[member.name]
        if final:
            return Refused(member.name, error)
        return Departed(member.name, Departure.CRASHED, first_line(error), not member.joined)

    def _ended(self, member: _Member, code: int, output: str) -> Departed:
        del self._members[member.name]
        departure = Departure.KILLED_HUNG if member.killed else Departure.CRASHED
        return Departed(
            member.name,
            departure,
            member.killed or why_ended(code, output),
            before_joining=not member.joined,
            unstarted=not member.spoke,
            output=output,
        )

    def _kill_late(self) -> None:
        now = time.monotonic()
        for member in self._members.values():
            if member.joined or member.killed:
                continue
            if not member.spoke and now - member.process.started > START_SECONDS:
                member.killed = f"its process did not say a word within {START_SECONDS:g} s"
            elif now - member.loading_since > LOAD_SECONDS:
                member.killed = f"its engine did not load within {LOAD_SECONDS:g} s"
            if member.killed:
                member.process.kill()

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Answer a replica; it reports again within ``wait`` seconds."""
        if (member := self._members.get(replica)) is not None:
            member.process.send(Ask(order, wait))

    def kill(self, replica: str) -> None:
        """Kill a replica that is silent or hangs; its departure follows as an event."""
        if (member := self._members.get(replica)) is not None:
            member.killed = member.killed or "it was killed"
            member.process.kill()

    def release(self, replica: str) -> None:
        """End a replica that has sent its last report."""
        if (member := self._members.pop(replica, None)) is not None:
            member.process.kill()

    def shutdown(self) -> None:
        """End all replicas."""
        members, self._members = [*self._members.values()], {}
        for member in members:
            member.process.kill()
        for member in members:
            member.process.wait()


def _stage(member: _Member, now: float) -> str:
    if not member.spoke:
        return f"{member.name} starts its process for {now - member.process.started:.0f} s"
    return f"{member.name} loads its engine for {now - member.loading_since:.0f} s"


def why_ended(code: int, output: str) -> str:
    """Say in words why a process ended: its exit code or the signal, and the last line of its output."""
    if code < 0:
        why = f"its process was killed by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            why += ", as by a machine that is out of memory"
    else:
        why = f"its process ended with exit code {code}"
    last = output.rpartition("\n")[2].strip()
    return f"{why}: {last[:300]}" if last else why


def this_machine(environment: Mapping[str, str] = os.environ) -> LocalMachine:
    """Describe this machine, as far as this process may use it."""
    return LocalMachine(usable_cpus(), visible_devices(environment, gpu_count()))
