"""Assembly of a driver from its parts; only this module composes what a run needs.

Every part is given what it needs when it is made. Tests and benchmarks give other ``Adapters`` and patch nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from evalrun_api import RunConfig, RunWarning
from evalrun_runner.benchmarks.aggregate import running_metrics
from evalrun_runner.benchmarks.chat import ChatTemplate
from evalrun_runner.benchmarks.load import LoadedBenchmarks
from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import DispatchPolicy
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.early_stopping import EarlyStopping, Submit, in_thread
from evalrun_runner.driver.exchange import Exchange
from evalrun_runner.driver.host import Host
from evalrun_runner.driver.leadership import Leadership
from evalrun_runner.driver.lease_notes import LeaseNotes, inherited
from evalrun_runner.driver.loop import Loop
from evalrun_runner.driver.prefix_items import PrefixItems
from evalrun_runner.driver.prefix_judge import GatesAndWidths
from evalrun_runner.driver.preflight import Preflight, run_preflight
from evalrun_runner.driver.progress import Watcher
from evalrun_runner.driver.reasoning import thinking_by_task
from evalrun_runner.driver.reporter import Reporter
from evalrun_runner.driver.telemetry import RunTelemetry
from evalrun_runner.fleet.protocol import Fleet, StartFleet
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.planning.identity import Plan
from evalrun_runner.planning.planning import Planning
from evalrun_runner.planning.resume import EarlierRun
from evalrun_runner.records.plan import Chunk
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.store.base import ObjectStore
from evalrun_runner.store.patient import PatientStore
from evalrun_runner.store.probe import probe_store


@dataclass(frozen=True)
class DriverOptions:
    """Settings of the driver process, not of the run."""

    cancellation: Cancellation = field(default_factory=Cancellation)
    """The request to stop, from whoever started the process."""
    in_cluster: bool = False
    """Whether replicas come and go with a cluster's nodes; else as many are kept as the run asks for."""
    policy: DispatchPolicy = field(default_factory=DispatchPolicy)
    store_patience: float = 600.0
    """Maximum time in seconds for which the store may refuse during the run before the run fails."""
    item_deadline: float = 1800.0
    """Maximum time of an item in the engine, in seconds; then it is failed."""
    host: Host = field(default_factory=Host)


@dataclass(frozen=True)
class Adapters:
    """The doors to the world outside: what a driver does with replicas, the store and the model goes through these."""

    start_fleet: StartFleet
    """Lets replicas load the engine, when the preflight has passed: of this machine, or of a cluster's nodes."""
    preflight: Callable[[RunConfig], Preflight] = run_preflight
    """Opens and reads the store, brings the suites, checks the model."""
    probe: Callable[[ObjectStore], None] = probe_store
    """Checks that the store can serve as a ledger: the first that writes there."""
    looks: Callable[[], Submit] = in_thread
    """Runs the looks of a run that may stop early beside its loop."""


@dataclass(frozen=True)
class PreparedRun:
    """What the preflight found good: all that is needed to run."""

    setting: Preflight
    plan: Plan
    benchmarks: LoadedBenchmarks
    chat: ChatTemplate | None
    earlier: EarlierRun | None
    """Earlier run that this one resumes from, if any."""
    warnings: tuple[RunWarning, ...] = ()
    """What the checks warned of."""


@dataclass(frozen=True)
class DriverParts:
    """One driver process, composed, with its epoch claimed and nothing started."""

    prepared: PreparedRun
    epoch: int
    leaving: threading.Event
    """Set while the replicas are ended: nothing waits for the store then."""
    store: PatientStore
    ledger: Ledger
    """Over ``store``: its calls wait for an unavailable store."""
    leadership: Leadership
    dispatcher: Dispatcher
    planning: Planning
    notes: LeaseNotes
    stopping: EarlyStopping
    loop: Loop


def build_driver(prepared: PreparedRun, options: DriverOptions, watcher: Watcher, adapters: Adapters) -> DriverParts:
    """Compose a driver and claim its epoch: every driver before it is superseded from here on."""
    setting, config = prepared.setting, prepared.setting.config
    leaving = threading.Event()
    store = PatientStore(setting.store, options.store_patience, leaving)
    ledger = Ledger(store)
    epoch = ledger.claim_epoch()
    leadership = Leadership(setting.ledger, epoch)
    telemetry = RunTelemetry({leaf.name: running_metrics(leaf) for leaf in prepared.benchmarks.leaves})
    spec = config.spec.policy
    policy = replace(options.policy, max_failed_items=spec.max_failed_items, drawn_order=spec.stop_early is not None)
    dispatcher = Dispatcher(policy, telemetry.committed, inherited(setting.store))
    planning = Planning(prepared.benchmarks, prepared.chat, ledger, epoch, prepared.plan.sizing, prepared.earlier)
    notes = LeaseNotes(setting.store, epoch, dispatcher)

    def start_fleet() -> Fleet:
        options.host.wait_for_ray()
        count, kind = config.spec.replicas.count, "mock" if config.spec.engine.mock is not None else "vLLM"
        if setting.recorded is not None:
            watcher.log(f"scoring the recorded answers of {setting.recorded.uri} in {count} processes")
        else:
            watcher.log(f"starting {count} {kind} replicas{'' if config.gpus_per_replica else ' on CPU'}")
        return adapters.start_fleet(replica_settings(prepared, options), writer=f"e{epoch}")

    exchange = Exchange(
        dispatcher,
        start_fleet,
        Reporter(watcher, telemetry, store_stats=lambda: store.stats, trouble=lambda: store.trouble),
        wanted=0 if options.in_cluster else config.spec.replicas.count,
    )

    def redo(chunks: tuple[Chunk, ...]) -> None:
        loop.reopen(chunks)

    stopping = EarlyStopping(
        dispatcher,
        ledger,
        None
        if spec.stop_early is None
        else GatesAndWidths(
            config, spec.stop_early, PrefixItems(config, prepared.benchmarks, ledger, setting.answered_by)
        ),
        epoch,
        log=watcher.log,
        reopen=redo,
        submit=adapters.looks(),
    )
    # What an earlier driver has decided stands, before anything is planned.
    stopping.begin()
    checks = (leadership.check, options.host.check, notes.take, stopping.step)
    loop = Loop(exchange, planning, options.cancellation, checks)
    return DriverParts(prepared, epoch, leaving, store, ledger, leadership, dispatcher, planning, notes, stopping, loop)


def replica_settings(prepared: PreparedRun, options: DriverOptions) -> ReplicaSettings:
    """Return what every replica of the run is started with."""
    setting, config = prepared.setting, prepared.setting.config
    return ReplicaSettings(
        store=setting.store_spec,
        engine=setting.engine,
        model=None if setting.model is None else setting.model.source,
        adapters={adapter.name: adapter.source for adapter in setting.adapters},
        adapter_of={
            leaf.name: leaf.benchmark.adapter
            for leaf in prepared.benchmarks.leaves
            if leaf.benchmark.adapter is not None
        },
        cache_dir=config.model.cache_dir,
        recipes={leaf.name: leaf.recipe for leaf in prepared.benchmarks.leaves},
        seed=config.spec.seed,
        thinking=thinking_by_task(config.spec, prepared.benchmarks),
        fast=setting.fast,
        strict=setting.strict,
        recorded=setting.recorded,
        item_deadline=options.item_deadline,
        carried=config.resume_from is not None,
        store_patience=options.store_patience,
    )
