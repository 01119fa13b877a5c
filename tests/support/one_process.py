"""A whole run in the test's process: the driver as it is, and a fleet of one real replica with the mock engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from evalrun_api import EvalRunSpec, ModelLocation, RunConfig, RunLocation, SuiteLocation
from evalrun_runner.benchmarks.recipe import TaskRecipe
from evalrun_runner.benchmarks.score import Scorer
from evalrun_runner.driver.progress import View
from evalrun_runner.fleet.protocol import Answered, FleetEvent, Joined
from evalrun_runner.records.messages import Order
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import ItemResult, Outcome
from evalrun_runner.replica.assembly import Parts, build_replica
from evalrun_runner.replica.settings import ReplicaSettings
from support.suites import Suite


class ScoringHere:
    """Scores in this process: starting another one takes seconds."""

    def __init__(self, recipes: Mapping[str, TaskRecipe]) -> None:
        self._recipes = recipes

    def start(self) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to close."""

    def score(self, task: str, items: Sequence[Item], outcomes: Sequence[Outcome]) -> list[ItemResult]:
        """Score the items of a chunk."""
        return Scorer(self._recipes[task]).score(items, outcomes)


class OneReplica:
    """A ``Fleet`` of one replica, which is called in ``poll``: the loop and the fleet share a thread."""

    def __init__(self, settings: ReplicaSettings, *, writer: str, parts: Parts | None = None) -> None:
        self.replica = build_replica(f"{writer}-r0", settings, parts or Parts(scoring=ScoringHere))
        self.size = 1
        self._joined = False
        self._orders: list[tuple[Order, float]] = []

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        """Load, or answer the last order."""
        if not self._joined:
            self._joined = True
            return [Joined(self.replica.name, self.replica.load())]
        orders, self._orders = self._orders, []
        return [Answered(self.replica.name, self.replica.exchange(order, wait)) for order, wait in orders]

    def send(self, replica: str, order: Order, wait: float) -> None:
        """Keep the order for the next poll."""
        self._orders.append((order, wait))

    def kill(self, replica: str) -> None:
        """Nobody hangs here."""
        raise AssertionError(f"{replica} is to be killed")

    def release(self, replica: str) -> None:
        """No machine asks for it."""
        raise AssertionError(f"{replica} is released")

    def add(self) -> None:
        """None leaves."""
        raise AssertionError("a replica is replaced")

    def shutdown(self) -> None:
        """End the replica."""
        self.replica.exchange(Order(done=True), 1.0)


class Watching:
    """A ``Watcher`` that keeps everything."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.views: list[View] = []

    def show(self, view: View) -> None:
        """Keep a view."""
        self.views.append(view)

    def log(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)


def sums(folder: Path, count: int) -> Path:
    """Write a suite of one task, ``sums``, of so many items."""
    suite = Suite(folder).with_data("rows", [{"question": f"{n} + {n} =", "answer": str(2 * n)} for n in range(count)])
    suite.with_task(
        "sums",
        data="rows",
        output_type="generate_until",
        doc_to_text="{{question}}",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 8},
        metric_list=[{"metric": "exact_match"}],
    )
    return suite.folder


def config_of(suite: Path, output: Path, task: str = "sums") -> RunConfig:
    """Configure a run of a task by the mock engine."""
    spec = EvalRunSpec.model_validate(
        {
            "model": {"name": "mock", "uri": "hf://test/mock"},
            "engine": {"mock": {}},
            "replicas": {"count": 1},
            "benchmarks": [{"task": task, "source": {"path": str(suite)}}],
            "output": {"uri": output.as_uri()},
        }
    )
    return RunConfig(
        name="test",
        uid="test",
        spec=spec,
        results=RunLocation(uri=output.as_uri()),
        model=ModelLocation(name="mock", uri="hf://test/mock"),
        suites={task: SuiteLocation(uri=suite.as_uri())},
    )
