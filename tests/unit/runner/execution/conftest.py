"""Sandboxes behind each kind of wall that this machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evalrun_runner.execution.sandbox import ProgramSandbox, SandboxDied
from evalrun_runner.execution.walls import Walls


@pytest.fixture(scope="module", params=list(Walls))
def sandbox(request: pytest.FixtureRequest) -> Iterator[ProgramSandbox]:
    try:
        sandbox = ProgramSandbox(request.param)
    except SandboxDied as error:
        pytest.skip(f"this machine has no such walls: {error}")
    yield sandbox
    sandbox.close()
