"""Start of a run's replicas on this machine, before anything heavy is imported here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evalrun_api import EvalRunSpec
from evalrun_runner.engine.settings import engine_settings, gpus_per_replica
from evalrun_runner.errors import RunFailed
from evalrun_runner.fleet.local_fleet import LocalStart, this_machine
from evalrun_runner.machine import has_gpu


@contextmanager
def started_replicas(spec: EvalRunSpec) -> Iterator[LocalStart]:
    """Start the processes of a run's replicas, which wait until the run has passed its checks.

    Raises:
        InputError: There are too few GPUs.
        RunFailed: They cannot be started.
    """
    gpus = gpus_per_replica(spec) if has_gpu() else 0
    try:
        folder = tempfile.TemporaryDirectory(prefix="evalrun-replicas-", ignore_cleanup_errors=True)
    except OSError as error:
        raise RunFailed(
            f"{tempfile.gettempdir()}: no folder can be made for the replicas' output ({error.strerror or error})\n"
            "hint: make room there, or set TMPDIR to another folder"
        ) from error
    with (
        folder as name,
        LocalStart(
            spec.replicas.count, engine_settings(spec, Path()), Path(name), this_machine(), gpus_per_replica=gpus
        ) as start,
    ):
        yield start
