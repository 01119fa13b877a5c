"""The planner in a small world that fails, crashes and is disturbed at every step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from evalrun_api import (
    ConditionStatus,
    ConditionType,
    Counts,
    EvalRunStatus,
    Failure,
    GateResult,
    Phase,
    Reason,
    RunProgress,
    RunResult,
    Verdict,
)
from evalrun_operator.plan import plan
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.state.desired import Desired, DesiredState
from evalrun_operator.state.observed import (
    Attempt,
    DriverPhase,
    Observed,
    ObservedDriver,
    ObservedReplicas,
    References,
    SpecProblem,
)
from support.evalruns import NOON, Builder, make_run
from support.kstatus import Health, kstatus

GOOD = RunResult(phase=Phase.SUCCEEDED, engine="vllm", counts=Counts(planned=10, ok=10), results_uri="s3://evals/x/")
GATE = GateResult(task="gsm8k", metric="acc", min=0.6, verdict=Verdict.PASSED, reason=Reason.GATES_PASSED)
JUDGED: dict[Verdict | None, RunResult] = {
    None: GOOD,
    **{
        one: GOOD.model_copy(update={"verdict": one, "gates": (GATE.model_copy(update={"verdict": one}),)})
        for one in Verdict
    },
}
"""Results by the verdict of their gates."""
PROBLEMS = (
    None,
    SpecProblem("a rule of this version alone"),
    SpecProblem("an unknown field", unknown=True),
    SpecProblem("an engine argument that left the list", unknown=True, engine_only=True),
)
LOST = RunResult(phase=Phase.FAILED, failure=Failure(reason=Reason.REPLICAS_FAILED, message="they died"))


@dataclass
class _Cluster:
    """Attempts by number; writes take effect one by one, so that an operator can die between them."""

    attempts: dict[int, Attempt] = field(default_factory=dict)
    were_ready: set[int] = field(default_factory=set)
    made: list[int] = field(default_factory=list)
    queued: bool = False
    """Whether replicas are created suspended, until a queue admits them."""

    def writes(self, desired: DesiredState) -> list[tuple[int, str]]:
        writes: list[tuple[int, str]] = []
        for number, attempt in self.attempts.items():
            if number < desired.attempt:
                if attempt.replicas is not None:
                    writes.append((number, "delete replicas"))
                if attempt.driver is not None and not attempt.driver.phase.ended:
                    writes.append((number, "delete driver"))
        here = self.attempts.get(desired.attempt, Attempt())
        if desired.driver is Desired.RUNNING and here.driver is None:
            writes.append((desired.attempt, "create driver"))
        if desired.driver is Desired.ABSENT and here.driver is not None:
            writes.append((desired.attempt, "delete driver"))
        if desired.replicas is Desired.RUNNING:
            if here.replicas is None:
                writes.append((desired.attempt, "create replicas"))
            elif here.replicas.ended:
                writes.append((desired.attempt, "delete replicas"))
        if desired.replicas is Desired.ABSENT and here.replicas is not None:
            writes.append((desired.attempt, "delete replicas"))
        return writes

    def write(self, number: int, what: str) -> None:
        attempt = self.attempts.get(number, Attempt())
        match what:
            case "create driver":
                assert not any(one.driver and not one.driver.phase.ended for one in self.attempts.values())
                self.made.append(number)
                attempt = replace(attempt, driver=ObservedDriver(DriverPhase.WAITING))
            case "delete driver":
                attempt = replace(attempt, driver=None)
            case "create replicas":
                attempt = replace(attempt, replicas=ObservedReplicas(1, active=1, queued=self.queued))
            case "delete replicas":
                attempt = replace(attempt, replicas=None)
        self.attempts[number] = attempt


class World(RuleBasedStateMachine):
    """An operator that may die after any write, a cluster, a user."""

    @initialize(
        most=st.integers(1, 4),
        budget=st.integers(0, 4),
        queued=st.booleans(),
        verdict=st.sampled_from([None, *Verdict]),
    )
    def begin(self, most: int, budget: int, queued: bool, verdict: Verdict | None) -> None:
        self.most = most
        self.budget = budget
        """Disruptions that the run may have; no item is ever finished in between."""
        self.queued = queued
        self.result = JUDGED[verdict]
        self.generation = 1
        self.seconds_to_live: int | None = None
        self.problem: SpecProblem | None = None
        """What the present version of the operator thinks of the spec."""
        self.cluster = _Cluster(queued=queued)
        self.status: EvalRunStatus | None = None
        self.suspend = False
        self.now: datetime = NOON
        self.charges = 0
        """Attempts that failed by their own fault."""
        self.finished_with: int | None = None

    # The operator ---------------------------------------------------------------------------------------------

    def _observed(self) -> Observed:
        run = self._run().build()
        run = run.model_copy(update={"metadata": run.metadata.model_copy(update={"generation": self.generation})})
        attempts = {
            number: attempt
            for number, attempt in self.cluster.attempts.items()
            if attempt.driver is not None or attempt.replicas is not None
        }
        last = max([self.status.attempt or 0 if self.status else 0, *attempts])
        driver = attempts.get(last, Attempt()).driver
        ready = driver is not None and driver.phase is DriverPhase.READY
        progress = RunProgress(phase=Phase.RUNNING, replicas_ready=1) if ready else None
        invalid = self.problem if last > 0 or (self.problem and self.problem.unknown) else None
        return Observed(run, attempts, progress, References(first_config={} if last else None), invalid)

    def _run(self) -> Builder:
        policy = {"maxAttempts": self.most, "maxDisruptions": self.budget, "suspend": self.suspend}
        run = make_run().with_policy(**policy).with_status(self.status)
        if self.seconds_to_live is not None:
            run.with_policy(ttlSecondsAfterFinished=self.seconds_to_live)
        return run.in_queue("gpu") if self.queued else run

    @rule(dies_after=st.integers(0, 6))
    def reconcile(self, dies_after: int) -> None:
        observed = self._observed()
        decided = plan(observed, OperatorSettings(), self.now)
        phase = decided.status.phase
        assert phase is not Phase.INVALID, "a spec is judged once"
        if observed.unusable is not None and not self.suspend and phase is not None and not phase.finished:
            assert decided.desired is None, "another version's children are left alone"
        writes = [] if decided.desired is None else self.cluster.writes(decided.desired)
        for number, what in writes[:dies_after]:
            self.cluster.write(number, what)
        if dies_after > len(writes):
            self.status = decided.status
            if decided.status.phase is not None and decided.status.phase.finished and self.finished_with is None:
                self.finished_with = len(self.cluster.made)

    @rule(problem=st.sampled_from(PROBLEMS))
    def operator_is_upgraded_or_rolled_back(self, problem: SpecProblem | None) -> None:
        self.problem = problem

    # The cluster and the driver ---------------------------------------------------------------------------------

    def _live(self) -> list[int]:
        return [
            number
            for number, attempt in self.cluster.attempts.items()
            if attempt.driver is not None and not attempt.driver.phase.ended
        ]

    def _driver(self, number: int, driver: ObservedDriver) -> None:
        self.cluster.attempts[number] = replace(self.cluster.attempts[number], driver=driver)

    @precondition(lambda self: self._live())
    @rule(choose=st.randoms(use_true_random=False), phase=st.sampled_from(["waiting", "starting", "ready"]))
    def driver_moves(self, choose: object, phase: str) -> None:
        number = choose.choice(self._live())  # type: ignore[attr-defined]
        if phase == "ready":
            self.cluster.were_ready.add(number)
        self._driver(number, ObservedDriver(DriverPhase(phase)))

    @precondition(lambda self: self._live())
    @rule(
        choose=st.randoms(use_true_random=False),
        end=st.sampled_from(["good", "good, unheard", "bad", "killed", "stopped"]),
    )
    def driver_ends(self, choose: object, end: str) -> None:
        number = choose.choice(self._live())  # type: ignore[attr-defined]
        drivers = {
            "good": ObservedDriver(DriverPhase.SUCCEEDED, self.result, 0),
            "good, unheard": ObservedDriver(DriverPhase.SUCCEEDED),
            "bad": ObservedDriver(DriverPhase.FAILED, LOST, 1, ended_at=self.now),
            "killed": ObservedDriver(DriverPhase.FAILED, None, 137, ended_at=self.now),
            "stopped": ObservedDriver(DriverPhase.FAILED, None, 143, disrupted=True, ended_at=self.now),
        }
        self._driver(number, drivers[end])
        self.charges += end in {"bad", "killed"}

    @rule()
    def replicas_leave(self) -> None:
        for number, attempt in self.cluster.attempts.items():
            if attempt.replicas is not None:
                self.cluster.attempts[number] = replace(attempt, replicas=ObservedReplicas(1, ended=True))

    # The user -----------------------------------------------------------------------------------------------------

    @rule(suspend=st.booleans())
    def user_suspends(self, suspend: bool) -> None:
        self.generation += suspend is not self.suspend
        self.suspend = suspend

    @rule()
    def user_sets_a_time_to_live(self) -> None:
        self.generation += 1
        self.seconds_to_live = 10**9 + self.generation

    @rule()
    def queue_admits(self) -> None:
        for number, attempt in self.cluster.attempts.items():
            if attempt.replicas is not None and attempt.replicas.queued:
                self.cluster.attempts[number] = replace(attempt, replicas=ObservedReplicas(1, active=1))

    @rule(seconds=st.integers(1, 400))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # What always holds ----------------------------------------------------------------------------------------------

    @invariant()
    def replicas_only_after_preflight(self) -> None:
        for number, attempt in self.cluster.attempts.items():
            assert attempt.replicas is None or number in self.cluster.were_ready

    @invariant()
    def a_finished_run_starts_nothing(self) -> None:
        assert self.finished_with is None or len(self.cluster.made) == self.finished_with

    @invariant()
    def kstatus_alone_holds_a_promotion(self) -> None:
        """Current only with results and gates that passed; after the end never in progress, once an edit is seen."""
        status = self.status or EvalRunStatus(observed_generation=-1)
        body = self._run().with_status(status).manifest()
        health = kstatus(body | {"metadata": body["metadata"] | {"generation": self.generation}})
        is_true = {ConditionType(one.type) for one in status.conditions if one.status is ConditionStatus.TRUE}
        if health is Health.CURRENT:
            assert {ConditionType.COMPLETE, ConditionType.GATE_PASSED} <= is_true
        if status.observed_generation == self.generation:
            finished = status.phase is not None and status.phase.finished
            assert (health is Health.IN_PROGRESS) is not finished
        if status.phase is Phase.SUCCEEDED:
            assert ConditionType.ADMITTED in is_true

    @invariant()
    def charges_are_bounded_and_never_invented(self) -> None:
        charged = 0 if self.status is None else self.status.charged_attempts or 0
        assert charged <= min(self.most, self.charges)

    def teardown(self) -> None:
        """When nothing fails any more, the run gets to its end, and nothing is left running."""
        if not hasattr(self, "cluster"):
            return
        self.suspend = False
        self.problem = None
        for _ in range(4 * self.most + 12):
            self.reconcile(99)
            for number in self._live():
                self.cluster.were_ready.add(number)
                if self.cluster.attempts[number].driver == ObservedDriver(DriverPhase.READY):
                    self._driver(number, ObservedDriver(DriverPhase.SUCCEEDED, self.result, 0))
                else:
                    self._driver(number, ObservedDriver(DriverPhase.READY))
            self.now += timedelta(seconds=400)
        assert self.status is not None and self.status.phase in {Phase.SUCCEEDED, Phase.FAILED}
        assert self.status.charged_attempts is not None
        if self.status.phase is Phase.FAILED:
            disruptions = self.status.disruptions.count if self.status.disruptions else 0
            assert self.status.charged_attempts == self.most or disruptions > self.budget
        assert not self._live()
        assert not any(one.replicas and not one.replicas.ended for one in self.cluster.attempts.values())


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
