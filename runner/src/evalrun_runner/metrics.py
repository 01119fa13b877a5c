"""Prometheus metrics of a run, as its driver serves them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from evalrun_api import RunConfig
from evalrun_runner.dispatch.progress import ProgressSnapshot
from evalrun_runner.driver.watching import View


class Metrics:
    """The metrics of one run; counters follow the dispatcher's own totals."""

    def __init__(self, config: RunConfig) -> None:
        self.registry = CollectorRegistry()
        labels = {"run_namespace": config.namespace, "run": config.name, "model": config.model.name}
        names = list(labels)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, names, registry=self.registry).labels(**labels)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, names, registry=self.registry).labels(**labels)

        items = Gauge("evalrun_items", "Items by how they ended.", [*names, "status"], registry=self.registry)
        self._items = {status: items.labels(**labels, status=status) for status in ("ok", "failed", "quarantined")}
        self._planned = gauge("evalrun_items_planned", "Items planned so far.")
        self._leased_chunks = gauge("evalrun_leased_chunks", "Chunks leased to replicas.")
        self._leased_items = gauge("evalrun_leased_items", "Items of the chunks leased to replicas.")
        self._ready = gauge("evalrun_replicas_ready", "Replicas that have loaded their engine.")
        self._redone = gauge("evalrun_items_redone", "Items answered again because their first answers were lost.")
        self._prompt = counter("evalrun_prompt_tokens", "Prompt tokens of committed items.")
        self._output = counter("evalrun_output_tokens", "Generated tokens of committed items.")
        self._commit = Histogram(
            "evalrun_commit_seconds",
            "Seconds from the end of a chunk's last item to its part in the store.",
            names,
            registry=self.registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
        ).labels(**labels)
        self._seen_prompt = self._seen_output = 0

    def update(self, view: View) -> None:
        """Take the newest view."""
        self._ready.set(view.replicas_ready)
        for seconds in view.commit_seconds:
            self._commit.observe(seconds)
        if view.progress is not None:
            self._update_progress(view.progress)

    def _update_progress(self, progress: ProgressSnapshot) -> None:
        for status, gauge in self._items.items():
            gauge.set(getattr(progress.counts, status))
        self._planned.set(progress.planned)
        self._leased_chunks.set(progress.leased_chunks)
        self._leased_items.set(progress.in_flight)
        self._redone.set(progress.redone)
        self._prompt.inc(progress.prompt_tokens - self._seen_prompt)
        self._output.inc(progress.output_tokens - self._seen_output)
        self._seen_prompt, self._seen_output = progress.prompt_tokens, progress.output_tokens
