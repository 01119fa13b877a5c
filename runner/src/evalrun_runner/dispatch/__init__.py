"""Which replica runs which chunk: pure decisions, without Ray, threads, clock or randomness."""

from evalrun_runner.dispatch.dispatcher import Dispatcher
from evalrun_runner.dispatch.policy import Departure, DispatchPolicy, KillOrder
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.dispatch.replica_registry import ReplicaProgress
from evalrun_runner.dispatch.suspects import Quarantine

__all__ = [
    "Departure",
    "DispatchPolicy",
    "Dispatcher",
    "KillOrder",
    "ProgressSnapshot",
    "Quarantine",
    "ReplicaProgress",
]
