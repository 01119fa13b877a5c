"""Side of the runner: one ``Replica``, driven by the driver's own code, in one process and without Ray.

It includes everything that a run does: planning into a manifest, dispatch, scoring in its process, commits,
verification of the parts, aggregation. Only Ray is replaced, by a ``Fleet`` that calls the replica in a thread.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from bench.reference_side import ReferenceSide
from bench.sides import Run
from bench.workloads import Workload
from evalrun_api import EvalRunSpec, ModelLocation, RunConfig, RunLocation, SuiteLocation
from evalrun_runner.driver.assembly import Adapters, DriverOptions
from evalrun_runner.driver.preflight import Preflight, load_tasks
from evalrun_runner.driver.progress import View
from evalrun_runner.driver.run import run
from evalrun_runner.engine.scheduler_watch import SchedulerWatch
from evalrun_runner.engine.tokens import load_tokenizer
from evalrun_runner.engine.vllm import VllmEngine, VllmSettings
from evalrun_runner.fleet.protocol import Answered, FleetEvent, Joined
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.identity import identity_of
from evalrun_runner.records.messages import Order, Report
from evalrun_runner.records.results import Outcome
from evalrun_runner.replica.assembly import Parts, build_replica
from evalrun_runner.replica.loading import Libraries
from evalrun_runner.replica.pump import Pump
from evalrun_runner.replica.replica import Replica
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.replica.work import ChunkWork
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.directory import DirectoryStore
from evalrun_runner.store.memory import MemoryStore
from evalrun_runner.store.open import StoreSpec

T = TypeVar("T")
DIRECTORY, MEMORY = "directory", "memory"


class _Redirect:
    """``ObjectStore`` that redirects to another store in each run, because a replica opens its store once."""

    uri = "redirected"

    def __init__(self) -> None:
        self.to: ObjectStore = MemoryStore()

    def __getattr__(self, method: str) -> Any:
        return getattr(self.to, method)


class _GivenEngine(VllmEngine):
    """Engine of the runner around a vLLM that is already loaded."""

    def __init__(self, llm_engine: Any) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._params = SamplingParams
        self._final_only = RequestOutputKind.FINAL_ONLY
        self.arguments = {}
        self._engine = llm_engine
        self._watch = SchedulerWatch()
        self.max_model_len = llm_engine.vllm_config.model_config.max_model_len
        self.max_num_seqs = llm_engine.vllm_config.scheduler_config.max_num_seqs
        self._calls = {}
        self._internal = {}


def _in_engine_thread(replica: Replica, job: Callable[[], T]) -> T:
    """Run a job in the idle replica's engine thread, because OpenMP treats threads differently."""
    answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()

    def answered(_: Pump) -> None:
        try:
            answers.put(job())
        except Exception as error:
            answers.put(error)

    with replica._changed:
        replica._jobs.append(answered)
        replica._changed.notify_all()
    answer = answers.get()
    if isinstance(answer, Exception):
        raise answer
    return answer


class _Clock:
    """Times at which items ended and chunks were committed."""

    def __init__(self) -> None:
        self.ended: dict[int, list[float]] = {}
        self.waits: list[float] = []
        self.commits: list[float] = []
        self.first_lease = self.last_commit = 0.0
        self.prompt_tokens = self.output_tokens = 0

    def item(self, lease: int) -> None:
        self.ended.setdefault(lease, []).append(time.monotonic())

    def order(self, order: Order) -> None:
        if order.leases and not self.first_lease:
            self.first_lease = time.monotonic()

    def report(self, report: Report) -> None:
        now = time.monotonic()
        for committed in report.committed:
            self.last_commit = now
            self.commits.append(committed.seconds_to_commit)
            self.waits.extend(now - ended for ended in self.ended.pop(committed.lease))
            self.prompt_tokens += committed.prompt_tokens
            self.output_tokens += committed.output_tokens


class _OneReplica:
    """``Fleet`` of one replica that is already loaded and outlives the run."""

    replicas = 1

    def __init__(self, replica: Replica, clock: _Clock) -> None:
        self._replica = replica
        self._clock = clock
        self._orders: queue.SimpleQueue[tuple[Order, float] | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[FleetEvent] = queue.SimpleQueue()
        self._events.put(Joined(replica.name, {}))
        self._thread = threading.Thread(target=self._talk, name="fleet", daemon=True)
        self._thread.start()

    def poll(self, timeout: float) -> Sequence[FleetEvent]:
        try:
            events = [self._events.get(timeout=timeout)]
        except queue.Empty:
            return []
        while not self._events.empty():
            events.append(self._events.get_nowait())
        return events

    def send(self, replica: str, order: Order, wait: float) -> None:
        if not order.done:
            self._clock.order(order)
            self._orders.put((order, wait))

    def kill(self, replica: str) -> None:
        raise AssertionError(f"{replica} is to be killed: it hangs")

    def release(self, replica: str) -> None:
        raise AssertionError(f"{replica} was asked to leave")

    def add(self) -> None:
        raise AssertionError("a replica is gone")

    @property
    def size(self) -> int:
        return 1

    def shutdown(self) -> None:
        self._orders.put(None)
        self._thread.join()

    def _talk(self) -> None:
        while (message := self._orders.get()) is not None:
            report = self._replica.exchange(*message)
            self._clock.report(report)
            self._events.put(Answered(self._replica.name, report))


class _Silent:
    def show(self, view: View) -> None:
        """Show nothing."""

    def log(self, line: str) -> None:
        print(line)


class RunnerSide:
    """Loaded replica and the runs on it, with their outputs in ``folder``."""

    def __init__(self, settings: VllmSettings, workloads: Mapping[str, Workload], folder: Path) -> None:
        started = time.monotonic()
        self._settings = settings
        self._folder = folder
        self._tokenizer = load_tokenizer(settings.model)
        self._store = _Redirect()
        self._runs = 0
        recipes = {
            leaf.name: leaf.recipe
            for setting in map(self._setting, workloads.values())
            for leaf in load_tasks(setting.config.spec, setting.suites, allow_code=False).leaves
        }
        self._engine: VllmEngine
        parts = Parts(open_store=lambda _: self._store, libraries=Libraries(vllm=self._load_engine))
        self._replica = build_replica(
            "bench", ReplicaSettings(StoreSpec(str(folder)), settings, recipes, settings.seed), parts
        )
        self._replica.load()
        self._load_seconds = time.monotonic() - started

    def _load_engine(self, settings: VllmSettings) -> VllmEngine:
        """Make the replica's engine in its own thread, and keep it to empty its prefix cache between runs."""
        self._engine = self._make_engine(settings)
        return self._engine

    def _make_engine(self, settings: VllmSettings) -> VllmEngine:
        return VllmEngine(settings)

    def load_seconds(self) -> float:
        """Return the seconds from the start of the process's work to an engine that accepts requests."""
        return self._load_seconds

    def run(self, workload: Workload, store: str) -> Run:
        """Make one run, from loading its tasks to its results."""
        self._engine._engine.reset_prefix_cache()
        self._runs += 1
        setting = self._setting(workload)
        target = DirectoryStore(self._folder / f"run{self._runs}") if store == DIRECTORY else MemoryStore()
        self._store.to = target
        clock = _Clock()
        # This is the real driver, except for preflight (already done), the store and the loaded replica.
        adapters = Adapters(
            preflight=lambda _: replace(setting, store=target),
            start_fleet=lambda *_, **__: _OneReplica(self._replica, clock),
        )
        with _item_ends(clock):
            started = time.monotonic()
            result = run(setting.config, DriverOptions(), _Silent(), adapters)
            whole = time.monotonic() - started
        assert result.counts is not None and result.counts.ok == workload.items, result
        return Run(
            whole=whole,
            engine=clock.last_commit - clock.first_lease,
            prompt_tokens=clock.prompt_tokens,
            output_tokens=clock.output_tokens,
            results=json.loads(Ledger(target).completed_results())["results"],
            commit_seconds=tuple(clock.commits),
            waits=tuple(clock.waits),
        )

    def _setting(self, workload: Workload) -> Preflight:
        config = _config(workload, self._settings, self._folder)
        return Preflight(
            config=config,
            store_spec=StoreSpec(str(self._folder)),
            store=self._store,
            adapters=(),
            model=None,
            engine=self._settings,
            tokenizer=self._tokenizer,
            suites={workload.task: workload.suite},
            identity=identity_of(config, None, {workload.task: workload.suite}),
        )


class SharedSide(RunnerSide):
    """All sides on one engine in one process: two processes differ by some per cent for as long as they live."""

    def _make_engine(self, settings: VllmSettings) -> VllmEngine:
        self._reference = ReferenceSide(settings)
        return _GivenEngine(self._reference.llm.llm_engine)

    def raw(self, workload: Workload) -> Run:
        """See ``ReferenceSide``."""
        return _in_engine_thread(self._replica, lambda: self._reference.raw(workload))

    def lm_eval(self, workload: Workload) -> Run:
        """See ``ReferenceSide``."""
        return _in_engine_thread(self._replica, lambda: self._reference.lm_eval(workload))

    def prompt_tokens(self, workload: Workload) -> float:
        """See ``ReferenceSide``."""
        return self._reference.prompt_tokens(workload)


def _item_ends(clock: _Clock) -> Any:
    """Note when each item ends; the product keeps only the last of a chunk."""
    settle = ChunkWork.settle

    def noted(work: ChunkWork, row: int, outcome: Outcome) -> None:
        settle(work, row, outcome)
        clock.item(work.lease.id)

    return mock.patch.object(ChunkWork, "settle", noted)


def _config(workload: Workload, settings: VllmSettings, folder: Path) -> RunConfig:
    uri = settings.model.as_uri()
    spec = EvalRunSpec.model_validate(
        {
            "model": {"name": settings.model.name, "uri": uri},
            "engine": {"vllm": {}},
            "replicas": {"count": 1},
            "seed": settings.seed,
            "benchmarks": [{"task": workload.task, "source": {"path": str(workload.suite)}}],
            "output": {"uri": folder.as_uri()},
        }
    )
    return RunConfig(
        name="bench",
        namespace="default",
        uid="bench",
        spec=spec,
        results=RunLocation(uri=folder.as_uri()),
        model=ModelLocation(name=settings.model.name, uri=uri),
        suites={workload.task: SuiteLocation(uri=workload.suite.as_uri())},
    )
