"""Fixtures of a real Kubernetes: `control_plane` (an API server alone) and `cluster` (with nodes).

They are a pytest plugin, so that one cluster serves a whole session: a ``conftest.py`` registers it with
``config.pluginmanager.import_plugin("cluster.fixtures")`` in its ``pytest_configure``. Where the machine cannot run a
cluster the tests are skipped with the reason; in continuous integration (``CI`` is set) they fail with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import kind
from cluster.binaries import Program, built, missing_for_control_plane, missing_for_nodes
from cluster.cluster import Cluster
from cluster.kind import KindCluster


def require(reason: str | None) -> None:
    """Skip the test for a reason, or fail it in continuous integration; do nothing without a reason."""
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def prebuilt(program: Program) -> Path:
    """Find a program for tests without a cluster; if it is not built, `require` ends the test. Build nothing."""
    found = built(program)
    if found is None:
        require(f"{program.name} is not built: run `make cluster-programs` once (minutes; needs Go)")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def control_plane() -> Iterator[Cluster]:
    """Provide an API server with controllers and no nodes: pods stay Pending, tests write their status."""
    require(missing_for_control_plane())
    with Cluster(nodes=0, name=f"control-plane-{os.getpid()}") as started:
        yield started


@pytest.fixture(scope="session")
def cluster_arguments() -> dict[str, Any]:
    """Return the arguments of `Cluster` for the fixture `cluster`; a conftest overrides it to add images."""
    return {"nodes": 3, "gpus": 2}


@pytest.fixture(scope="session")
def cluster(cluster_arguments: dict[str, Any]) -> Iterator[Cluster | KindCluster]:
    """Provide a cluster whose nodes run pods; with ``CLUSTER=kind``, a cluster of kind."""
    if kind.wanted():
        with KindCluster(**cluster_arguments) as made:
            yield made
        return
    require(missing_for_nodes())
    with Cluster(**cluster_arguments, name=f"cluster-{os.getpid()}") as started:
        yield started
