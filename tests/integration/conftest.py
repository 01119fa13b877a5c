"""A real API server for the tests that ask for one."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("cluster.fixtures")
