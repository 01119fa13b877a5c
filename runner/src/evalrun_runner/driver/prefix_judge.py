"""Judge the first items of a run: whether its verdicts are decided, or its intervals narrow enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from evalrun_api import GateResult, GateRule, Reason, RunConfig, StopEarly, StopRule, Verdict
from evalrun_api.wire.outputs import Results, StopCause
from evalrun_runner.driver.baselines import read_baselines
from evalrun_runner.driver.certainty import GateEvidence, certain_verdicts
from evalrun_runner.driver.early_stopping import DamagedPrefix, StopFound
from evalrun_runner.driver.gate_items import LeafItems
from evalrun_runner.driver.gates import Baseline, JudgedRun, items_of, judge
from evalrun_runner.driver.look_levels import as_asked, at_look, level_at
from evalrun_runner.driver.prefix_items import PrefixItems
from evalrun_runner.driver.scores import keys_of, meant_filter, meant_task, score_of

_REASONS = {Verdict.PASSED: Reason.GATES_PASSED, Verdict.FAILED: Reason.GATE_FAILED}
CERTAIN = "no answer of the rest could change this"
UNDECIDED = "not decided when another gate had surely failed"


@dataclass
class GatesAndWidths:
    """Judge of one run's prefixes; see ``early_stopping.PrefixJudge``."""

    config: RunConfig
    stop: StopEarly
    items: PrefixItems
    read: Callable[[RunConfig], list[Baseline]] = read_baselines

    @property
    def looks(self) -> int:
        """See ``PrefixJudge``."""
        return self.stop.looks

    def look(self, prefix: Mapping[str, int], look: int) -> StopFound | DamagedPrefix | None:
        """See ``PrefixJudge``."""
        if damaged := self.items.read(prefix):
            return DamagedPrefix(damaged)
        results = self.items.results()
        if self.stop.rule is StopRule.WIDTH:
            return StopFound(StopCause.WIDTH) if self._is_narrow(results) else None
        verdicts = self._verdicts(results, look)
        # A bare score has no test: only what the rest cannot change stops a run for it.
        overall = Verdict.overall(
            Verdict.INCONCLUSIVE if one.rule is GateRule.POINT else one.verdict for one in verdicts if not one.advisory
        )
        if overall in _REASONS:
            return self._found(StopCause.GATES, verdicts)
        return self._certain(results, verdicts)

    def check(self, prefix: Mapping[str, int], look: int) -> StopFound | DamagedPrefix | None:
        """See ``PrefixJudge``."""
        if self.stop.rule is StopRule.WIDTH:
            return None
        if damaged := self.items.read(prefix):
            return DamagedPrefix(damaged)
        results = self.items.results()
        return self._certain(results, self._verdicts(results, max(look, 1)))

    @cached_property
    def _baselines(self) -> list[Baseline]:
        return self.read(self.config)

    def _verdicts(self, results: Results, look: int) -> tuple[GateResult, ...]:
        spec = self.config.spec
        run = JudgedRun(results, self.items)
        verdicts = judge(at_look(spec.gates, look, self.looks), run, self._baselines, spec.benchmarks)
        return as_asked(verdicts, spec.gates, look, self.looks)

    def _certain(self, results: Results, verdicts: Sequence[GateResult]) -> StopFound | None:
        """Return the verdicts that the rest cannot change, with the bounds and scores of the items so far."""
        gates = self.config.spec.gates
        counting = [number for number, gate in enumerate(gates) if not gate.advisory]
        evidence = [self._evidence(number, results) for number in counting]
        known = [one for one in evidence if one is not None]
        if not known or len(known) < len(evidence):
            return None
        level = min(level_at(one.gate, self.looks, self.looks) for one in known)
        found = certain_verdicts(known, level)
        if found is None:
            return None
        decided = list(verdicts)
        for number, verdict in zip(counting, found, strict=True):
            decided[number] = _with_verdict(decided[number], verdict)
        return self._found(StopCause.CERTAIN, decided)

    def _evidence(self, number: int, results: Results) -> GateEvidence | None:
        """Collect what is known of a gate; None if its score is not there yet, or not all of its items can be told."""
        gate, benchmarks = self.config.spec.gates[number], self.config.spec.benchmarks
        task = meant_task(gate.task, results.results, benchmarks)
        name = meant_filter(gate, keys_of(results, task))
        score = None if name is None else score_of(results, task, gate.metric, name)
        if score is None or score.value is None:
            return None
        items = items_of(JudgedRun(results, self.items), score)
        if items is None:
            return None
        earlier: list[LeafItems] = []
        baseline = self._baselines[number] if number < len(self._baselines) else None
        if gate.baseline is not None:
            if not isinstance(baseline, JudgedRun):
                return None
            found = [baseline.items.leaf(leaf.task, score.metric, score.filter) for leaf in items.leaves]
            earlier = [leaf for leaf in found if leaf is not None]
            if len(earlier) < len(found):
                return None
        lower = bool(score.lower_is_better) if gate.lower_is_better is None else gate.lower_is_better
        planned = tuple(self.items.planned(leaf.task) for leaf in items.leaves)
        return GateEvidence(gate, items, planned, tuple(earlier) if gate.baseline else None, lower)

    def _found(self, cause: StopCause, verdicts: Sequence[GateResult]) -> StopFound:
        asked = tuple(gate.to_dict() for gate in self.config.spec.gates)
        return StopFound(cause, asked, tuple(one.to_dict() for one in verdicts))

    def _is_narrow(self, results: Results) -> bool:
        """Return whether the first score of every benchmark has an interval that is narrow enough."""
        widths: list[float | None] = []
        for benchmark in self.config.spec.benchmarks:
            of_benchmark = [leaf.name for leaf in self.items.benchmarks.by_benchmark()[benchmark.resolved_name]]
            tasks = [benchmark.task] if benchmark.task in results.results else of_benchmark
            widths += [_width(results, task) for task in tasks]
        return all(width is not None and width <= self.stop.resolved_width for width in widths)


def _width(results: Results, task: str) -> float | None:
    """Return the width of the interval of a task's first score; None if it has none."""
    for record in results.evalrun.intervals or ():
        if record.task == task and record.stratum is None:
            return None if record.low is None or record.high is None else record.high - record.low
    return None


def _with_verdict(result: GateResult, verdict: Verdict | None) -> GateResult:
    known = verdict or Verdict.INCONCLUSIVE
    message = f"{CERTAIN if verdict is not None else UNDECIDED}: {result.message}"[:1000]
    reason = _REASONS.get(known, Reason.INCONCLUSIVE)
    return result.model_copy(update={"verdict": known, "reason": reason, "message": message})
