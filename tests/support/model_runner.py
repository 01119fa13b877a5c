"""A model of what runs in the pods of a run: drivers that claim epochs, replicas that join them, and their ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from evalrun_api import Counts, Failure, Phase, Reason, RunProgress, RunResult
from evalrun_api.wire.pods import NO_HEAD_SECONDS, ExitCode
from support.model_api import Object, Ref, stamp
from support.model_cluster import ModelCluster, Process

TICK_S = 5.0
ITEMS = 100


class Fate(StrEnum):
    """What becomes of a driver that nothing else disturbs."""

    GOOD = "good"
    INVALID = "invalid"
    """The input is wrong: 2, before any replica."""
    FINAL = "final"
    """The run failed for good: 3."""
    FAILED = "failed"
    """This attempt failed: 1, with its reason."""
    DIES = "dies"
    """A crash in the middle: 1 without a result message."""
    OUT_OF_MEMORY = "out of memory"
    """137, OOMKilled."""
    STOPS = "stops"
    """143, though nobody asked the pod to stop: its liveness probe failed."""
    SUPERSEDED = "superseded"
    """75, as if another driver had taken over."""
    MUMBLES = "mumbles"
    """It succeeds, and its result message is garbled."""


CHARGED = {Fate.FAILED, Fate.DIES, Fate.OUT_OF_MEMORY, Fate.STOPS, Fate.MUMBLES}


@dataclass
class Ledger:
    """What the store holds of one run."""

    uid: str
    done: float = 0.0
    epoch: int = 0
    complete: bool = False
    refused: Fate | None = None
    """Set once a driver ended with a code that no other attempt mends."""
    ends: int = 0
    """Drivers that ended by their own fault."""
    drivers: list[DriverProcess] = field(default_factory=list)
    results_uri: str = "s3://evals/"

    def result(self) -> RunResult:
        """Return what a driver says at the end of a complete run."""
        return RunResult(
            phase=Phase.SUCCEEDED, engine="mock", counts=Counts(planned=ITEMS, ok=ITEMS), results_uri=self.results_uri
        )


@dataclass
class DriverProcess(Process):
    """A driver in its pod."""

    cluster: ModelCluster
    ledger: Ledger
    ref: Ref
    uid: str
    attempt: int
    fate: Fate
    speed: float
    """Items per second and replica."""
    alive: bool = True
    ready: bool = False
    finishing: bool = False
    doomed_at: float = 0.0
    """Share of the items at which its fate strikes."""
    epoch: int = 0

    def start(self) -> None:
        """Claim an epoch, and begin."""
        self.ledger.epoch += 1
        self.epoch = self.ledger.epoch
        self.ledger.drivers.append(self)
        self.cluster.time.after(1, 5, self._preflight)

    @property
    def address(self) -> str:
        """The IP address of its pod, while that exists."""
        pod = self.cluster.server.objects.get(self.ref)
        return "" if pod is None or pod["metadata"]["uid"] != self.uid else pod["status"].get("podIP", "")

    def _preflight(self) -> None:
        if not self.alive:
            return
        if self.ledger.complete:
            self._succeed()
        elif self.fate is Fate.INVALID:
            self.ledger.ends += 1
            self.ledger.refused = self.fate
            self._fail(ExitCode.INVALID, Phase.INVALID, Reason.TASK_INVALID, "the task does not exist")
        else:
            self.ready = True
            state = {"running": {"startedAt": stamp(self.cluster.time.date())}}
            self.cluster.report(self.ref, self.uid, "Running", state, ready=True)
            self._tick()

    def _tick(self) -> None:
        if not self.alive or self.finishing:
            return
        if self.ledger.epoch > self.epoch:
            self._fail(ExitCode.SUPERSEDED, Phase.FAILED, Reason.SUPERSEDED, "a later driver took over")
            return
        self.ledger.done = min(ITEMS, self.ledger.done + self.speed * TICK_S * len(self.replicas()))
        if self.fate not in {Fate.GOOD, Fate.MUMBLES} and self.ledger.done >= self.doomed_at * ITEMS:
            self._meet_fate()
        elif self.ledger.done >= ITEMS:
            self.finishing = True
            self.cluster.time.after(2, 5, self._complete)
        else:
            self.cluster.time.after(TICK_S, TICK_S, self._tick)

    def replicas(self) -> list[ReplicaProcess]:
        """Return the replicas that have loaded the model."""
        return [
            one
            for one in self.cluster.processes.values()
            if isinstance(one, ReplicaProcess) and one.ledger is self.ledger and one.ready
        ]

    def _meet_fate(self) -> None:
        match self.fate:
            case Fate.FINAL:
                self.ledger.ends += 1  # an end like others where its pod is gone before anybody reads its words
                self.ledger.refused = self.fate
                self._fail(ExitCode.FINAL, Phase.FAILED, Reason.TOO_MANY_FAILED_ITEMS, "too many items failed")
            case Fate.FAILED:
                self.ledger.ends += 1
                self._fail(ExitCode.FAILED, Phase.FAILED, Reason.REPLICAS_FAILED, "they died")
            case Fate.DIES:
                self.ledger.ends += 1
                self._exit(1, "Error", "Traceback (most recent call last): …")
            case Fate.OUT_OF_MEMORY:
                self.ledger.ends += 1
                self._exit(137, "OOMKilled", "")
            case Fate.STOPS:
                self.ledger.ends += 1
                self._exit(ExitCode.STOPPED, "Error", "")
            case _:
                self._fail(ExitCode.SUPERSEDED, Phase.FAILED, Reason.SUPERSEDED, "a later driver took over")

    def _complete(self) -> None:
        if not self.alive:
            return
        if self.ledger.epoch > self.epoch and not self.ledger.complete:
            self._fail(ExitCode.SUPERSEDED, Phase.FAILED, Reason.SUPERSEDED, "a later driver took over")
            return
        self.ledger.complete = True
        if self.fate is Fate.MUMBLES:
            self.ledger.ends += 1
            self._exit(0, "Completed", '{"phase": "Succ')
        else:
            self._succeed()

    def _succeed(self) -> None:
        self._exit(0, "Completed", self.ledger.result().to_json())

    def _fail(self, code: int, phase: Phase, reason: Reason, message: str) -> None:
        result = RunResult(phase=phase, failure=Failure(reason=reason, message=message))
        self._exit(code, "Error", result.to_json())

    def _exit(self, code: int, reason: str, message: str) -> None:
        if self.alive:
            self.alive = False
            self.cluster.exit(self.ref, self.uid, code, reason, message)

    def terminate(self) -> None:
        """Commit what is complete, and leave."""
        self.cluster.time.after(0.5, 20, self._stop)

    def _stop(self) -> None:
        result = RunResult(phase=Phase.SUSPENDED, failure=Failure(reason=Reason.INTERRUPTED, message="asked to stop"))
        self._exit(ExitCode.STOPPED, "Error", result.to_json())

    def kill(self) -> None:
        self.alive = False

    def progress(self) -> RunProgress:
        """Answer ``/progress``."""
        phase = Phase.FINISHING if self.finishing else Phase.RUNNING if self.ledger.done else Phase.STARTING
        done = int(self.ledger.done)
        return RunProgress(phase=phase, counts=Counts(planned=ITEMS, ok=done), replicas_ready=len(self.replicas()))


@dataclass
class ReplicaProcess(Process):
    """A replica in its pod."""

    cluster: ModelCluster
    ledger: Ledger
    ref: Ref
    uid: str
    attempt: int
    crashes: bool = False
    """Whether it dies before it is ready."""
    alive: bool = True
    ready: bool = False
    alone_since: float | None = None

    def start(self) -> None:
        """Load the model."""
        self.cluster.time.after(2, 15, self._load)
        self._tick()

    def _load(self) -> None:
        if not self.alive:
            return
        if self.crashes:
            self._exit(1)
            return
        self.ready = True
        state = {"running": {"startedAt": stamp(self.cluster.time.date())}}
        self.cluster.report(self.ref, self.uid, "Running", state, ready=True)

    def _tick(self) -> None:
        if not self.alive:
            return
        now = self.cluster.time.now()
        if any(driver.alive and driver.attempt == self.attempt for driver in self.ledger.drivers):
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = now
        if self.ledger.complete or (self.alone_since is not None and now - self.alone_since >= NO_HEAD_SECONDS):
            self._exit(0)
        else:
            self.cluster.time.after(10, 10, self._tick)

    def _exit(self, code: int) -> None:
        if self.alive:
            self.alive = False
            self.cluster.exit(self.ref, self.uid, code, "Error" if code else "Completed", "")

    def terminate(self) -> None:
        """Return what it has leased, and leave."""
        self.cluster.time.after(0.5, 10, self._exit, int(ExitCode.STOPPED))

    def kill(self) -> None:
        self.alive = False


def component_of(pod: Object) -> tuple[str, int]:
    """Read component and attempt from a pod's labels."""
    labels = pod["metadata"]["labels"]
    return labels["evalrun.dev/component"], int(labels["evalrun.dev/attempt"])
