"""Story of the runs that a Prometheus scrapes: they wait, stop, survive faults, fail items, end."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from cluster.errors import ClusterError
from cluster.prometheus import Prometheus
from evalrun_api.metrics import driver
from evalrun_api.wire.pods import Component
from support.e2e import NAMESPACE, ROOT, Object, Platform, Run, config_map_of_tasks
from support.watched import (
    BAD,
    DIES,
    EASY,
    FAULTS,
    HARD,
    LONG_EASY,
    NEVER_ALL,
    ORPHAN,
    QUEUED,
    REAL,
    REFUSED,
    STALLS,
    STUCK,
    Watched,
    quicker_rules,
    scraping,
)

EXAMPLE = ROOT / "examples" / "kubernetes" / "quickstart.yaml"
MODEL = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun/models/smollm2-135m-instruct"
SUITES = "watched"
WORD = ("word", "(answer)")
"""Filter of all tasks, and what it finds."""
HELD = "/tmp/held"
"""File that, in the pod of a replica, keeps it from finishing items that name the file; it still reports."""


def tell(platform: Platform) -> Watched:
    """Start a Prometheus, and play the story."""
    watched = Watched(platform, Prometheus(platform.cluster, scraping(), quicker_rules()))
    watched.clear()  # left by an earlier test on a lasting cluster
    watched.prometheus.start()
    watched.prometheus.wait_for_series("evalrun_operator_info")
    platform.seaweed.put_folder(MODEL, "checkpoints", MODEL.name)
    for body in (suites(), worse()):
        platform.cluster.api.apply(body, NAMESPACE)
    Story(watched).tell()
    return watched


def suites() -> Object:
    """Build tasks with one target word each; the mock engine's answers contain that of one task only."""
    word = {dies: "[mock:die]" for dies in DIES} | {REFUSED: "[mock:refuse]"}
    stuck = {REFUSED: "[mock:refuse]", STALLS: "[mock:stall]"}
    tasks = {
        "easy": [{"question": f"What is {n}?", "answer": "answer"} for n in range(EASY)],
        "hard": [{"question": f"What is {n}? {word.get(n, '')}", "answer": "question"} for n in range(HARD)],
        "stuck": [{"question": f"What is {n}? {stuck.get(n, '')}", "answer": "answer"} for n in range(NEVER_ALL)],
    }
    return config_map_of_tasks(SUITES, tasks, *WORD)


def worse() -> Object:
    """Build the task easy again, as for a model that has become worse."""
    word = f"[mock:hold:{HELD}]"
    questions = [{"question": f"What is {n}? {word}", "answer": "question"} for n in range(LONG_EASY)]
    return config_map_of_tasks(f"{SUITES}-worse", {"easy": questions}, *WORD)


@dataclass(frozen=True)
class Story:
    """Sequence of events; runs that do not depend on it continue in parallel."""

    watched: Watched

    @property
    def platform(self) -> Platform:
        """Platform on which the story plays."""
        return self.watched.platform

    def tell(self) -> None:
        """Play the whole story."""
        self.runs_begin()
        self.runs_wait()
        self.a_run_survives_faults()
        self.a_run_stands_still()
        self.a_run_has_bad_items()
        self.runs_end()
        self.the_operator_lacks_rights_and_is_then_away()

    def runs_begin(self) -> None:
        """Start the run of a real model, and others of the mock engine."""
        example = yaml.safe_load(EXAMPLE.read_text())
        example["metadata"]["name"] = REAL
        self.platform.cluster.apply(json.dumps(example), NAMESPACE)
        self.platform.run(
            BAD,
            benchmarks=_of_suite("easy", "hard"),
            gates=[
                {"task": "easy", "metric": "exact_match", "filter": "word", "min": 0.5},
                {"task": "easy", "metric": "exact_match", "filter": "word", "max": 0.5},
                {"task": "hard", "metric": "exact_match", "filter": "word", "min": 0.5},
            ],
            policy={"maxFailedItems": len(DIES) + 1},
        )
        self.platform.run(STUCK, count=1, benchmarks=_of_suite("stuck"))
        self.platform.run(
            FAULTS,
            seconds=200,
            benchmarks=_of_suite("easy", suite=f"{SUITES}-worse"),
            policy={"maxAttempts": 4},
        )
        self.platform.run(QUEUED, labels={"kueue.x-k8s.io/queue-name": "nobody-admits"}, benchmarks=_of_suite("easy"))

    def runs_wait(self) -> None:
        """Start runs that wait: one for a Secret that is never created, which becomes Invalid, and one for a queue."""
        s3 = {"endpointURL": self.platform.seaweed.endpoint, "credentialsSecretRef": {"name": "never-made"}}
        self.platform.run(ORPHAN, output={"uri": "s3://evals/", "storage": s3})
        self.watched.fires("EvalRunPending", run=ORPHAN)
        self.watched.fires("EvalRunFailed", run=ORPHAN, phase="Invalid")
        self.watched.fires("EvalRunNotStarting")
        self.watched.fires("EvalRunQueueStuck")

    def a_run_stands_still(self) -> None:
        """Start a run in which one item is refused beyond the limit, and another one never ends."""
        self.watched.fires("EvalRunFailedItems", 120, run=STUCK)
        self.watched.fires("EvalRunStalled", run=STUCK)
        run = self.watched.run(STUCK)
        run.patch(policy={"suspend": True})
        run.until_phase("Suspended")

    def a_run_has_bad_items(self) -> None:
        """Start a run in which items kill the engine, so that their task has no verdict; another misses its gate."""
        self.watched.run(BAD).until_phase("Succeeded")
        self.watched.fires("EvalRunReplicasCrashing", run=BAD)
        self.watched.fires("EvalRunQuarantine", run=BAD)
        self.watched.fires("EvalRunGateFailed", run=BAD, task="easy", gate="max")
        self.watched.fires("EvalRunGateInconclusive", run=BAD, task="hard", gate="min")

    def a_run_survives_faults(self) -> None:
        """Play all faults: a failing store, replicas that depart for every cause, two dead drivers, a slow tail."""
        run = self.watched.run(FAULTS)
        self.until_items(run, 40)
        with self.platform.store_away():
            self.watched.fires("EvalRunStoreDegraded", 120, run=FAULTS)
        self.until_items(run, 80)
        for pod in run.running(Component.REPLICA):
            run.node_of(pod).kill_container(pod)
        self.watched.fires("EvalRunWithoutReplicas", run=FAULTS)
        self.until_departed("lost")
        self.until_replicas_work(run)
        self.platform.cluster.evict(run.pod(Component.REPLICA))
        self.until_departed("drained")
        for attempt in (2, 3):
            self.until_items(run, 100 * attempt)
            self.until_replicas_work(run)
            self.until_attempt(run, attempt)
        self.watched.fires("EvalRunRetrying", run=FAULTS)
        self.until_replicas_work(run)
        self.until_hedged(run)

    def until_items(self, run: Run, items: int) -> None:
        """Wait until this many items are committed."""
        run.until_items(items)
        self.watched.say(f"{run.name} has {items} items")

    def until_replicas_work(self, run: Run) -> None:
        """Wait until both replicas are ready."""

        def work() -> bool:
            progress = run.progress()
            return progress is not None and progress.replicas_ready == 2

        run.until(work, "two replicas")
        self.watched.say(f"both replicas of {run.name} work")

    def until_attempt(self, run: Run, attempt: int) -> None:
        """Kill its driver, and wait for the next attempt."""
        pod = run.pod(Component.DRIVER)
        run.node_of(pod).kill_container(pod)
        run.until(lambda: run.status.get("attempt") == attempt, f"attempt {attempt}", 60)
        self.watched.say(f"{run.name} begins attempt {attempt}")

    def until_departed(self, cause: str) -> None:
        """Wait until Prometheus has seen a replica depart for this cause."""
        series = f'{driver.DEPARTURES.name}{{run="{FAULTS}",cause="{cause}"}} > 0'
        self.watched.prometheus.wait_for_series(series, 60)
        self.watched.say(f"a replica is {cause}")

    def until_hedged(self, run: Run) -> None:
        """Block one replica: the other does all other work, and then that of the first."""
        of_run = f'{{run="{FAULTS}"}}'
        busy = f"{driver.REPLICA_INFO.name}{of_run} and on (replica) {driver.REPLICA_LEASED.name}{of_run} > 0"
        self.watched.prometheus.wait_for_series(f"count({busy}) == 2", 60)
        host = self.watched.prometheus.query(busy)[0].labels["host"]
        slow = next(pod for pod in run.running(Component.REPLICA) if pod["metadata"]["name"].startswith(f"{host}-"))
        within = ("-n", NAMESPACE, "exec", slow["metadata"]["name"], "--")
        self.platform.cluster.kubectl(*within, "touch", HELD)
        self.watched.say(f"{host} ends nothing any more")
        self.watched.prometheus.wait_for_series(f"{driver.CHUNKS_HEDGED.name}{of_run} > 0", 200)
        self.watched.say("a chunk is hedged")
        with contextlib.suppress(ClusterError):  # the pod ends with its run
            self.platform.cluster.kubectl(*within, "rm", HELD)

    def runs_end(self) -> None:
        """Wait for all runs that can end."""
        for name in (FAULTS, REAL):
            self.watched.run(name).until_phase("Succeeded")
            self.watched.say(f"{name} has ended")
        self.watched.fires("EvalRunScoreRegressed", run=FAULTS, task="easy")

    def the_operator_lacks_rights_and_is_then_away(self) -> None:
        """Take the operator's rights away, then stop it."""
        with self.platform.operator_without_rights():
            self.watched.fires("EvalRunOperatorErrors", 90)
            self.watched.fires("EvalRunOperatorNotWatching", 90)
        try:
            self.platform.stop_operator()
            self.watched.fires("EvalRunOperatorDown")
        finally:
            self.platform.start_operator()
        self.watched.prometheus.wait_for_series(f'evalrun_score{{final="true",run="{REAL}"}}')


def _of_suite(*tasks: str, suite: str = SUITES) -> list[Object]:
    return [{"task": task, "source": {"configMap": {"name": suite}}} for task in tasks]
