"""Two hundred runs at once; only the operator, the API server and the controllers are real.

Pods are faked: kwok reports them as running, one server answers for all drivers, and the test ends them.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cluster.binaries import missing_for_control_plane
from cluster.cluster import Cluster
from cluster.fake_nodes import FakeNodes, end_pod
from cluster.fixtures import require
from evalrun_api.wire.pods import Component
from support.operator_scene import RUNNING, SUCCEEDED, Scene, with_evalruns
from support.playing_kubelet import PlayingDriver

RUNS = 200
ADDRESS = "127.0.13.1"

pytestmark = pytest.mark.timeout(600)


def test_two_hundred_runs_at_once_succeed_within_bounds(tmp_path: Path) -> None:
    require(missing_for_control_plane())
    with (
        Cluster(nodes=0, name="scale", fakes=FakeNodes(4, pod_address=ADDRESS)) as cluster,
        PlayingDriver(ADDRESS, RUNNING),
    ):
        scene = Scene(with_evalruns(cluster), "default", tmp_path)

        def phases() -> Counter[str | None]:
            return Counter((run.get("status") or {}).get("phase") for run in cluster.api.list("evalruns"))

        with scene.operator(watch={"namespaces": []}, resyncSeconds=60, progressSeconds=5) as operator:
            operator.wait_ready()
            started = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: scene.apply(f"run-{number:03}", replicas={"count": 2}), range(RUNS)))
            cluster.wait_for(lambda: phases() == {"Running": RUNS}, 300, "all to run")
            running = time.monotonic() - started
            drivers = scene.kubelet.pods(Component.DRIVER)
            assert len(drivers) == RUNS, "one driver for each run"
            # The Job controller is slow; two Jobs for each run and no more.
            cluster.wait_for(lambda: len(scene.kubelet.pods(Component.REPLICA)) >= 2 * RUNS, 120, "all replicas")
            assert len(scene.kubelet.pods(Component.REPLICA)) == 2 * RUNS
            words = SUCCEEDED.fit().decode()
            ended = time.monotonic()
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda pod: end_pod(cluster, pod["metadata"]["name"], "default", 0, words), drivers))
            cluster.wait_for(lambda: phases() == {"Succeeded": RUNS}, 300, "all to succeed")
            succeeded = time.monotonic() - ended
            assert operator.process is not None
            usage = Path(f"/proc/{operator.process.pid}/status").read_text()
            peak = int(next(re.finditer(r"VmHWM:\s+(\d+) kB", usage))[1]) / 1024
            assert operator.asks("/healthz") == 200
            assert operator.stop() == 0
        calls = re.search(r"stopped after (\d+) calls to the API server: (.*)", operator.said())
        assert calls is not None
        print(f"\n{RUNS} runs applied at once (faked pods): all run after {running:.0f} s; told to end, all succeeded")
        print(f"after {succeeded:.0f} s; the operator's memory at most {peak:.0f} MiB; {int(calls[1]) / RUNS:.0f} API")
        print(f"calls a run: {calls[2]}")
        # Far above what was measured, far below what would hurt.
        assert peak < 512 and int(calls[1]) / RUNS < 100
        assert not operator.said("ERROR evalrun|Traceback")
