"""Fixtures of the end-to-end tests: one cluster with three nodes, the project's images, a store, the chart.

``EVALRUN_E2E_CLUSTER=name`` uses a cluster that is up (``make cluster``), so that a test takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from cluster import prometheus, seaweed
from cluster.binaries import missing_for_nodes
from cluster.cluster import Cluster
from cluster.fixtures import require
from cluster.seaweed import Seaweed
from support.e2e import DEPLOYMENT, NAMESPACE, SYSTEM, Platform, Run, image_layouts
from support.watched import Watched, quicker_rules, scraping
from support.watched_story import tell


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Provide the cluster with everything installed."""
    keys = tmp_path_factory.mktemp("keys")
    if name := os.environ.get("EVALRUN_E2E_CLUSTER"):
        there = Cluster.attach(name)
        found = Platform(there, Seaweed(there), keys)
        if there.api.find("deployments", DEPLOYMENT, SYSTEM) is None:
            found.install()
        yield found
        return
    require(missing_for_nodes())
    images = [seaweed.image(), prometheus.image(), *image_layouts()]
    with Cluster(nodes=3, gpus=2, images=images, name=f"e2e-{os.getpid()}") as cluster:
        found = Platform(cluster, Seaweed(cluster), keys)
        with found.last_node_kept_free():
            found.install()
        yield found


@pytest.fixture(scope="session")
def undisturbed(platform: Platform) -> Run:
    """Provide a run without faults, with which the other runs are compared."""
    there = platform.cluster.api.find("evalruns", "undisturbed", NAMESPACE)
    run = platform.run("undisturbed") if there is None else Run(platform, "undisturbed")
    run.ended_well()
    return run


@pytest.fixture(scope="session")
def scraped(platform: Platform) -> Iterator[Watched]:
    """Provide a Prometheus that scrapes from now on. `watched` has its own, which is deleted by then."""
    if os.environ.get("EVALRUN_E2E_CLUSTER"):
        platform.cluster.add_image(prometheus.image())
    found = Watched(platform, prometheus.Prometheus(platform.cluster, scraping(), quicker_rules()))
    found.prometheus.remove()  # left by an earlier test on a lasting cluster
    with platform.last_node_kept_free():
        found.prometheus.start()
    found.prometheus.wait_for_series("evalrun_operator_info")
    yield found
    found.prometheus.remove()


@pytest.fixture(scope="session")
def watched(platform: Platform) -> Iterator[Watched]:
    """Provide the data that a Prometheus collected from good and bad runs."""
    if os.environ.get("EVALRUN_E2E_CLUSTER"):
        platform.cluster.add_image(prometheus.image())
    told = tell(platform)
    yield told
    told.clear()
