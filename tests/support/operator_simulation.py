"""A whole control plane as a simulation in virtual time, decided by one integer.

What is real: the operator's ``Client``, ``Observer``, ``plan``, ``JobsBackend``, ``apply``, ``Reconciler``,
``WorkQueue``, ``EventHandler``, ``Deliveries`` and ``Resync``. What is modelled: the API server (``model_api``), Job
controller, scheduler, kubelets, nodes, garbage collector and Kueue (``model_cluster``), drivers and replicas
(``model_runner``).

What a seed decides: requests that are lost before or after they took effect, late, refused with 401, 403, 409, 422,
429 or 500; kinds of requests that are always refused for a while; deliveries of the watches that are late, out of order
or lost; operators that die at any request and return, in another version, with a clock that is wrong, or another one
that a Lease elects; drivers that end with each exit code, with and without words; replicas that crash; evicted pods,
deleted Jobs, nodes that are cut off; full clusters, queues that do not admit; users who suspend, resume, resize, delete
and apply again.

What is checked (``operator_audit``): children of one attempt only; no two drivers at once that anybody could end; no
run restarts after its end, or ends without a cause; status moves along permitted edges, charges are failures; a run
that waits says for what within its budget; suspend is acted upon; a deleted run leaves nothing; I2, I3, I5; every run
comes to its end.

``python tests/support/operator_simulation.py SEED`` replays a seed and prints what happened.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from evalrun_api import RunProgress
from evalrun_operator.settings import ImageSettings, OperatorSettings
from support.model_api import ModelApiServer, Object, Ref
from support.model_cluster import NODES, QUEUE, ModelCluster, Process, Time
from support.model_runner import DriverProcess, Fate, ReplicaProcess, component_of
from support.operator_audit import Audit, InvariantBroken, condition, run_of
from support.operator_process import FAULTS, Classes, Faults, OperatorProcess
from support.virtual_time import VirtualTimeLoop

LIMIT_S = 6 * 3600.0
LOOK_S = 10.0
NAMESPACE = "team"
SECRET = "keys"
SETTINGS = OperatorSettings(progress_seconds=30.0)
UPGRADED = SETTINGS.model_copy(update={"image": ImageSettings(reference="ghcr.io/evalrun/runner:0.2.0")})
GENTLE = (Fate.GOOD,) * 5
ROUGH = (*Fate, *GENTLE)


@dataclass
class Scenario:
    """All that a seed decides before the start. Times are seconds."""

    faults: Faults
    fates: tuple[Fate, ...]
    spec: Object
    queue: str
    deeds: tuple[tuple[float, str], ...]
    """What users do and what strikes the cluster: time, name of a method."""
    secret_at: float | None
    """When the Secret is created that the run names; None: it names none."""
    speed: float
    replica_crash: float
    calm_at: float
    """From then on nothing new strikes."""
    operators: int = 1


def draw(rng: random.Random) -> Scenario:
    """One run, sometimes in trouble of one kind, sometimes of all."""
    calm_at = rng.choice((0.0, 60.0, 60.0, 120.0, 240.0))
    kinds = tuple(rng.sample(FAULTS, rng.choice((1, 2, len(FAULTS)))))
    refused = {}
    if rng.random() < 0.15:
        what = rng.choice(
            ("create jobs", "create configmaps", "apply evalruns", "list jobs", "list pods", "create events",
             "delete jobs", "get nodes", "patch pods", "create secrets")
        )  # fmt: skip
        refused[what] = rng.choice((401, 403, 422, 429, 500))
    faults = Faults(
        share=rng.choice((0.0, 0.02, 0.1, 0.3)),
        kinds=kinds,
        crash=rng.choice((0.0, 0.0, 0.02, 0.1)),
        lost_events=rng.choice((0.0, 0.0, 0.1, 0.5)),
        slow_events=rng.choice((0.2, 2.0, 20.0)),
        refused=refused,
        over_at=calm_at,
    )
    policy: Object = {"maxAttempts": rng.choice((1, 2, 3))}
    if rng.random() < 0.15:
        policy["activeDeadlineSeconds"] = rng.choice((60, 200, 600))
    if rng.random() < 0.15:
        policy["ttlSecondsAfterFinished"] = rng.choice((0, 30, 300))
    if rng.random() < 0.1:
        policy["suspend"] = True
    spec: Object = {
        "model": {"uri": "s3://models/tiny/"},
        "engine": {"mock": {}},
        "benchmarks": [{"task": "gsm8k"}],
        "output": {"uri": "s3://evals/"},
        "replicas": {"count": rng.choice((1, 1, 2))},
        "policy": policy,
    }
    secret_at = None
    if rng.random() < 0.25:
        spec["output"]["storage"] = {"credentialsSecretRef": {"name": SECRET}}
        secret_at = rng.choice((0.0, 20.0, 60.0, LIMIT_S))
    return Scenario(
        faults=faults,
        fates=rng.choice((GENTLE, ROUGH)),
        spec=spec,
        queue="gpus" if rng.random() < 0.15 else "",
        deeds=tuple(
            sorted((rng.uniform(0, 100), rng.choice(tuple(DEEDS))) for _ in range(rng.choice((0, 0, 1, 1, 2, 3, 5))))
        ),
        secret_at=secret_at,
        speed=rng.choice((2.0, 5.0, 20.0, 20.0)),
        replica_crash=rng.choice((0.0, 0.0, 0.2)),
        calm_at=max(calm_at, 100.0),
        operators=2 if rng.random() < 0.05 else 1,
    )


@dataclass
class World:
    """One simulated world."""

    seed: int
    classes: Classes = field(default_factory=Classes)
    trace: bool = False

    def play(self) -> World:
        """Run to the end and check it. Raises ``InvariantBroken``."""
        random.seed(self.seed)
        loop = VirtualTimeLoop()
        loop.set_exception_handler(self._failed)
        gc.disable()  # it would take a fifth of the time
        try:
            loop.run_until_complete(self._play(loop))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            gc.enable()
        return self

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what a timer raised: the checks run in timers."""
        self._fail(context.get("exception") or AssertionError(context["message"]))

    def _fail(self, error: BaseException) -> None:
        self.audit.failure = self.audit.failure or error

    async def _play(self, loop: asyncio.AbstractEventLoop) -> None:
        self.rng = random.Random(self.seed)
        self.time = Time(loop, self.rng)
        self.scenario = draw(self.rng)
        self.server = ModelApiServer(self.time.date)
        self.cluster = ModelCluster(self.server, self.time, self._start_process)
        self.audit = Audit(self.server, self.cluster, self.time)
        self.operators: list[OperatorProcess] = []
        self.settings = SETTINGS
        if self.trace:
            self.server.on_change.append(self._tell)
        self.apply()
        for _ in range(self.scenario.operators):
            self._start_operator()
        if self.scenario.secret_at is not None:
            loop.call_later(self.scenario.secret_at, self._create_secret)
        for at, deed in self.scenario.deeds:
            loop.call_later(at, self._do, deed)
        loop.call_later(self.scenario.calm_at, self._calm)
        while not self._settled():
            await asyncio.sleep(LOOK_S)
            if self.audit.failure is not None:
                raise self.audit.failure
            if not any(operator.leads for operator in self.operators):
                self.audit.healthy_since = max(self.time.now(), self.scenario.calm_at)
            self.audit.look()
            if self.time.now() > LIMIT_S:
                raise InvariantBroken(f"termination: not over after {LIMIT_S:.0f} s: {self._states()}")
        if self.audit.failure is not None:
            raise self.audit.failure
        self._check_end()

    # What is there ------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Tell what happens, in a replay."""
        if self.trace:
            print(f"{self.time.now():9.2f}  {text}")

    def _tell(self, what: str, ref: Ref, one: Object) -> None:
        status = one.get("status") or {}
        phase = status.get("phase", "")
        if ref.plural == "evalruns":
            failed = [
                f"{one['type']}={one['status']} {one['reason']}: {one['message']}"
                for one in status.get("conditions", ())
            ]
            phase += f" a{status.get('attempt')} c{status.get('chargedAttempts')} | " + " | ".join(failed[2:5])
        elif ref.plural == "jobs":
            phase = ",".join(one["type"] for one in status.get("conditions", ()))
        elif ref.plural == "pods":
            states = [one["state"] for one in status.get("containerStatuses", ())]
            phase += f" {states} {'deleting' if 'deletionTimestamp' in one['metadata'] else ''}"
        self.say(f"{what} {ref.plural}/{ref.name} {phase}")

    def _states(self) -> str:
        return ", ".join(f"{record.ref.name} {record.status.get('phase')}" for record in self.audit.records.values())

    def _start_process(self, ref: Ref, pod: Object) -> Process:
        component, attempt = component_of(pod)
        uid, run = pod["metadata"]["uid"], pod["metadata"]["labels"]["evalrun.dev/run"]
        ledger = self.audit.records[run].ledger
        if component == "replica":
            crashes = self.rng.random() < self.scenario.replica_crash
            replica = ReplicaProcess(self.cluster, ledger, ref, uid, attempt, crashes)
            replica.start()
            return replica
        self.audit.driver_starts(ledger, ref, attempt)
        fates = self.scenario.fates if self.time.now() < self.scenario.calm_at else GENTLE
        driver = DriverProcess(self.cluster, ledger, ref, uid, attempt, self.rng.choice(fates), self.scenario.speed)
        driver.doomed_at = self.rng.choice((0.0, 0.0, 0.5, 1.0))
        driver.start()
        self.say(f"epoch {driver.epoch} starts: {driver.fate}")
        self.audit.seen[driver.fate] += 1
        return driver

    async def _ask(self, address: str) -> RunProgress | None:
        await asyncio.sleep(0.01)
        if self.time.now() < self.scenario.faults.over_at and self.rng.random() < self.scenario.faults.share:
            return None
        for process in self.cluster.processes.values():
            if isinstance(process, DriverProcess) and process.ready and process.address == address:
                return process.progress()
        return None

    # Operators ----------------------------------------------------------------------------------------------------

    def _start_operator(self) -> None:
        skew = timedelta(seconds=self.rng.choice((0, 0, 0, -5, 5)))
        process = OperatorProcess(
            self.server,
            self.time,
            self.scenario.faults,
            self.settings,
            self._ask,
            self._operator_died,
            self.classes,
            self._operator_leads,
            skew,
            identity=f"operator-{len(self.operators)}" if self.scenario.operators > 1 else "",
        )
        self.operators.append(process)
        self.say("an operator starts")

    def _operator_leads(self) -> None:
        self.audit.healthy_since = max(self.time.now(), self.scenario.calm_at)
        self.audit.seen["leaders"] += 1

    def _operator_died(self, operator: OperatorProcess) -> None:
        if operator.errors:
            self._fail(operator.errors[0])
        self.audit.seen["operators died"] += 1
        self.say("the operator dies")
        calm = self.time.now() >= self.scenario.calm_at
        away = self.rng.choice((1, 5)) if calm else self.rng.choice((1, 5, 30, 120, 400))
        self.time.after(away, away + 1, self._start_operator)

    # What users do, and what strikes the cluster ------------------------------------------------------------------

    @property
    def _run(self) -> Ref:
        return Ref("evalruns", NAMESPACE, "nightly")

    def apply(self) -> None:
        """Apply the run, if it is not there."""
        if self._run not in self.server.objects:
            labels = {QUEUE: self.scenario.queue} if self.scenario.queue else {}
            body = {"apiVersion": "evalrun.dev/v1alpha1", "kind": "EvalRun", "spec": dict(self.scenario.spec)}
            self.server.create("evalruns", NAMESPACE, {**body, "metadata": {"name": self._run.name, "labels": labels}})
            run = self.server.objects[self._run]
            record = self.audit.records[run["metadata"]["uid"]]
            record.ledger.results_uri = f"s3://evals/{NAMESPACE}/nightly-{run['metadata']['uid'][:8]}/"
            if self.scenario.secret_at == LIMIT_S:
                record.denied = "a Secret does not exist"

    def _create_secret(self) -> None:
        metadata = {"name": SECRET, "labels": {"evalrun.dev/use": "storage"}}
        self.server.create("secrets", NAMESPACE, {"metadata": metadata})

    def _do(self, deed: str) -> None:
        self.say(f"— {deed}")
        self.audit.seen[deed] += 1
        DEEDS[deed](self)

    def suspend(self, *, suspend: bool = True) -> None:
        """Set policy.suspend."""
        run = self.server.objects.get(self._run)
        if run is not None:
            self.server.update(self._run, spec={"policy": {**run["spec"]["policy"], "suspend": suspend}})

    @property
    def _is_suspended(self) -> bool:
        run = self.server.objects.get(self._run)
        return run is not None and run["spec"]["policy"].get("suspend", False) is True

    def _resume(self) -> None:
        """Suspend nothing any more, also not in a run that is applied later."""
        spec = self.scenario.spec
        self.scenario.spec = {**spec, "policy": {**spec["policy"], "suspend": False}}
        self.suspend(suspend=False)

    def delete(self) -> None:
        """Delete the run, and apply it again."""
        self.server.delete(self._run)
        self.time.after(1, 60, self.apply)

    def resize(self) -> None:
        """Change the number of replicas."""
        self.audit.seen["edits"] += 1
        self.server.update(self._run, spec={"replicas": {"count": self.rng.choice((1, 2, 3))}})

    def evict(self, part: str) -> None:
        """Evict a pod."""
        for ref, _ in self._some("pods", part):
            self.cluster.evict(ref)

    def delete_job(self, part: str) -> None:
        """Delete a Job by hand."""
        for ref, _ in self._some("jobs", part):
            self.server.delete(ref)

    def cut(self) -> None:
        """Cut a node off: for seconds, for long, or until long after the run should have gone on without it."""
        node = self.rng.choice(NODES)
        self.cluster.cut_off(node)
        self.time.after(*self.rng.choice(((10, 30), (200, 600), (1500, 1600))), self.cluster.reconnect, node)

    def fill(self) -> None:
        """Leave no room for replicas, for a while."""
        self.cluster.full = True
        self.time.after(30, 600, setattr, self.cluster, "full", False)

    def stop_admitting(self) -> None:
        """Let the queue admit nothing, for a while."""
        self.cluster.admits = False
        self.time.after(30, 600, setattr, self.cluster, "admits", True)

    def kill_operator(self) -> None:
        """Kill one operator."""
        for operator in [operator for operator in self.operators if operator.living][:1]:
            operator.die()

    def upgrade(self) -> None:
        """Replace all operators by those of a version with another image."""
        self.settings = UPGRADED
        for operator in self.operators:
            operator.die()

    def _some(self, plural: str, part: str) -> list[tuple[Ref, Object]]:
        found = [(ref, one) for ref, one in self.server.of(plural) if part in ref.name]
        return found[:1]

    def _calm(self) -> None:
        """Whatever was wrong is over: from now on everything must come to its end.

        One node may stay away, and a run may stay suspended long enough that the operator must have acted upon it.
        """
        self.say("— calm")
        for node in sorted(self.cluster.cut)[1:]:
            self.time.after(0, 300, self.cluster.reconnect, node)
        resumed = self.rng.choice((0.0, 200.0, 400.0)) if self._is_suspended else 0.0
        self.time.after(resumed, resumed + 1, self._resume)

    # The end ------------------------------------------------------------------------------------------------------

    def _settled(self) -> bool:
        """Check whether every run has ended, and all that it should leave has left."""
        now = self.time.now()
        if now < self.scenario.calm_at + LOOK_S:
            return False
        if not all(record.deleted or record.finished_at is not None for record in self.audit.records.values()):
            return False
        since = max(max(one.over_at or 0.0, one.finished_at or 0.0) for one in self.audit.records.values())
        ready = any(one.living and one.resync.ready for one in self.operators)
        return ready and now > max(since, self.audit.healthy_since) + 130.0

    def _check_end(self) -> None:
        for uid, record in self.audit.records.items():
            # Nobody can end what is on a node that is cut off; what is terminating needs nobody.
            left = [
                ref
                for ref, one in self.server.objects.items()
                if run_of(one) == uid
                and one.get("spec", {}).get("nodeName") not in self.cluster.cut
                and "deletionTimestamp" not in one["metadata"]
            ]
            if record.deleted and left:
                raise InvariantBroken(f"deleted: {', '.join(map(str, left))} is left over")
            if record.deleted or not record.ledger.complete:
                continue
            reason = condition(record.status, "Failed").get("reason")
            if record.status["phase"] != "Succeeded" and reason not in {"DeadlineExceeded", "AttemptsExhausted"}:
                raise InvariantBroken(f"end: COMPLETE is there, and the run is {record.status['phase']}, {reason}")


DEEDS: Mapping[str, Callable[[World], None]] = {
    "suspend": World.suspend,
    "suspend again": World.suspend,
    "resume": lambda world: world.suspend(suspend=False),
    "delete": World.delete,
    "apply": World.apply,
    "resize": World.resize,
    "evict driver": lambda world: world.evict("driver"),
    "evict replica": lambda world: world.evict("replicas"),
    "delete driver job": lambda world: world.delete_job("driver"),
    "delete replicas job": lambda world: world.delete_job("replicas"),
    "cut": World.cut,
    "cut again": World.cut,
    "fill": World.fill,
    "stop admitting": World.stop_admitting,
    "kill operator": World.kill_operator,
    "upgrade": World.upgrade,
}
"""What users do, and what strikes the cluster."""


def main() -> None:
    """Replay one seed."""
    logging.basicConfig(level=logging.INFO, format="            %(message)s")
    world = World(int(sys.argv[1]), trace=True)
    try:
        world.play()
    finally:
        print(world.scenario)
    print(f"over after {world.time.now():.1f} virtual seconds")


if __name__ == "__main__":
    main()
