"""What is made of the numbers that vLLM's scheduler tells after each step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from evalrun_runner.engine.scheduler_watch import SchedulerWatch
from evalrun_runner.records.messages import EngineStats


def told(running: int, waiting: int, skipped: int, usage: float, **cache: int) -> Any:
    """SchedulerStats, as far as they are read."""
    return SimpleNamespace(
        num_running_reqs=running,
        num_waiting_reqs=waiting,
        num_skipped_waiting_reqs=skipped,
        kv_cache_usage=usage,
        prefix_cache_stats=SimpleNamespace(**{"queries": 0, "hits": 0, "preempted_requests": 0, **cache}),
    )


def record(watch: SchedulerWatch, stats: Any, iteration: Any = None) -> None:
    watch.record(scheduler_stats=stats, iteration_stats=iteration, mm_cache_stats=None)


def test_gauges_are_the_last_value_and_counters_the_sum() -> None:
    watch = SchedulerWatch()
    assert watch.stats == EngineStats()
    record(watch, told(5, 7, 2, 0.5, queries=100, hits=16))
    record(watch, told(4, 0, 1, 0.25, queries=50, hits=32, preempted_requests=2))
    record(watch, told(3, 1, 0, 0.125, preempted_requests=1))
    assert watch.stats == EngineStats(3, 1, 0.125, prefix_queried=150, prefix_hit=48, preemptions=3)


def test_preemptions_come_from_the_iteration_if_there_is_one() -> None:
    watch = SchedulerWatch()
    record(watch, told(1, 0, 0, 0.5, preempted_requests=5), SimpleNamespace(num_preempted_reqs=2))
    assert watch.stats.preemptions == 2


def test_statistics_that_were_read_do_not_change() -> None:
    watch = SchedulerWatch()
    record(watch, told(1, 2, 0, 0.5, queries=3))
    before = watch.stats
    record(watch, told(9, 9, 9, 0.9, queries=9))
    assert before == EngineStats(1, 2, 0.5, prefix_queried=3)
