"""Statistics that vLLM's scheduler reports with every step."""

from __future__ import annotations

from typing import Any

from evalrun_runner.records.messages import EngineStats


class SchedulerWatch:
    """Replacement for an LLMEngine's ``logger_manager`` that stores the statistics instead of printing them.

    Every step replaces ``stats`` as a whole, so any thread may read it.
    """

    def __init__(self) -> None:
        self.stats = EngineStats()

    def record(self, *, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any) -> None:
        """Store vLLM's SchedulerStats, and IterationStats if vLLM makes them; the engine calls this after each step."""
        before, cache = self.stats, scheduler_stats.prefix_cache_stats
        self.stats = EngineStats(
            running=scheduler_stats.num_running_reqs,
            waiting=scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs,
            cache_usage=scheduler_stats.kv_cache_usage,
            prefix_queried=before.prefix_queried + cache.queries,
            prefix_hit=before.prefix_hit + cache.hits,
            preemptions=before.preemptions
            + (cache.preempted_requests if iteration_stats is None else iteration_stats.num_preempted_reqs),
        )

    def log(self) -> None:
        """Print nothing; the engine calls this every ten seconds."""
