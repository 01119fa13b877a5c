"""A real API server for the tests that ask for one, and a namespace of it for each test of the operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.cluster import Cluster
from support.operator_scene import Scene, with_evalruns


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("cluster.fixtures")


@pytest.fixture
def scene(control_plane: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Scene:
    """A namespace that is named after the test, with EvalRuns defined."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:50].strip("-")
    with_evalruns(control_plane).create_namespace(name)
    return Scene(control_plane, name, tmp_path)
