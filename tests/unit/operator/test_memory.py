"""Memory for thousands of runs: what stays of an object after it was read."""

from __future__ import annotations

import asyncio
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kopf

sys.path.insert(0, str(Path(__file__).parents[3]))

from bench import big_cluster
from evalrun_api import RunProgress
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.objects import EVALRUNS, JOBS, PODS, Kind
from evalrun_operator.observe.observer import Key, Observer
from evalrun_operator.settings import OperatorSettings
from evalrun_operator.watch.deliveries import Deliveries
from evalrun_operator.watch.handlers import NoMemories, configure_watches
from evalrun_operator.watch.resync import Resync
from support.evalruns import make_run

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


class BigApi:
    """An API server with a thousand pods for each run; it parses its answers, as a client does."""

    def __init__(self, pods: int) -> None:
        self._pods = [json.dumps(big_cluster.pod(number)) for number in range(pods)]

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        return make_run(name).manifest()

    async def list_objects(self, kind: Kind, namespace: str, selector: str = "") -> AsyncIterator[dict[str, Any]]:
        for text in self._pods if kind is PODS else ():
            yield json.loads(text)

    async def list_metadata(self, kind: Kind, namespace: str, selector: str = "") -> AsyncIterator[dict[str, Any]]:
        for number in self.numbers(kind):
            yield json.loads(json.dumps({"metadata": big_cluster.metadata(kind, number)}))

    def numbers(self, kind: Kind) -> Sequence[int]:
        """Return the numbers of the Jobs or pods that there are; runs are not listed."""
        runs = range(-(-len(self._pods) // big_cluster.RUN_PODS))
        return range(len(self._pods)) if kind is PODS else big_cluster.numbers(JOBS, runs) if kind is JOBS else ()


async def _silent(_: str) -> RunProgress | None:
    return None


def test_c26_observer_keeps_whole_pods() -> None:
    pods = 500
    api = BigApi(pods)

    async def scene() -> tuple[int, int, int]:
        observer = Observer(api, JobsBackend(OperatorSettings()), _silent, lambda: NOW)  # type: ignore[arg-type]
        await observer.observe(Key("team", "first"))
        tracemalloc.start()
        seen = await observer.observe(Key("team", "x"))
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert seen is not None
        return kept, peak, sum(map(len, seen[1].children.pods.values()))

    kept, peak, seen = asyncio.run(scene())
    assert seen == pods, "every pod is known"
    assert kept / pods < 1500, "bytes a pod, of 60,000 as JSON values"
    assert peak / pods < 3000, "nor are the bodies all there while they are read"


def test_c17_resync_memory() -> None:
    pods = 1000
    api, deliveries = BigApi(pods), Deliveries()
    enqueued: set[Key] = set()

    async def scene() -> tuple[int, int]:
        resync = Resync(api, enqueued.add, deliveries, (EVALRUNS, JOBS, PODS), (), 60.0)  # type: ignore[arg-type]
        tracemalloc.start()
        await resync.once()
        undelivered = tracemalloc.get_traced_memory()[1]
        for kind in (JOBS, PODS):
            for number in api.numbers(kind):
                metadata = big_cluster.metadata(kind, number)
                key = Key("team", metadata["annotations"]["evalrun.dev/run-name"])
                deliveries.record(kind, metadata["uid"], metadata["resourceVersion"], key)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        await resync.once()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return undelivered, peak - before

    undelivered, peak = asyncio.run(scene())
    assert len(enqueued) == -(-pods // big_cluster.RUN_PODS), "the run of each pod, once"
    assert undelivered / pods < 1500, "bytes a pod at the first one, of 20,000 as JSON values"
    assert peak / pods < 100, "bytes a pod where the watches delivered everything"


def test_kopf_remembers_no_object() -> None:
    async def scene() -> int:
        memories = NoMemories()
        for number in range(10):
            await memories.recall({"metadata": {"uid": f"u-{number}"}}, noticed_by_listing=True)
        return len(list(memories.iter_all_memories()))

    assert asyncio.run(scene()) == 0


def test_kopf_lists_in_pages_and_lets_no_event_wait() -> None:
    settings = kopf.OperatorSettings()
    configure_watches(settings, (EVALRUNS, JOBS, PODS))
    assert settings.watching.chunk_size == 100
    assert settings.queueing.worker_limit is None
