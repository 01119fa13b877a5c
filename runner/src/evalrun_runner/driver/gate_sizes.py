"""Gates that no answers could pass, told once the tasks are loaded. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalrun_api import Benchmark, Gate, GateRule, RunWarning
from evalrun_runner.benchmarks.estimates import MEANS
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks
from evalrun_runner.driver.limits import why_gate_never
from evalrun_runner.driver.scores import meant_task


def check_sizes(
    gates: Sequence[Gate], benchmarks: Sequence[Benchmark], loaded: LoadedBenchmarks
) -> Iterator[RunWarning]:
    """Warn of gates that cannot pass with the items that their tasks have.

    Args:
        gates: The gates.
        benchmarks: The run's benchmarks, whose names a gate may use.
        loaded: The run's leaf tasks and groups.
    """
    leaves = {leaf.name: leaf for leaf in loaded.leaves}
    members = {name: [task.task_name for task in group.get_all_tasks()] for name, group in loaded.groups.items()}
    sizes: dict[str, int] = {}
    for number, gate in enumerate(gates):
        task = meant_task(gate.task, {**leaves, **members}, benchmarks)
        concerned = [leaves[name] for name in members.get(task, [task]) if name in leaves]
        if not concerned:
            continue
        for leaf in concerned:
            if leaf.name not in sizes:
                sizes[leaf.name] = leaf.documents
        why = why_gate_never(gate, sum(sizes[leaf.name] for leaf in concerned)) or _why_unbounded(gate, concerned)
        if why is not None:
            yield RunWarning(about=f"spec.gates[{number}]", message=why[:1024])


def _why_unbounded(gate: Gate, leaves: Sequence[LeafTask]) -> str | None:
    """Say that no confidence bound is known for a gate's metric; None where one is, or its aggregation is not known."""
    functions = [leaf.task.aggregation().get(gate.metric) for leaf in leaves]
    if gate.resolved_rule is GateRule.POINT or all(function in (None, *MEANS) for function in functions):
        return None
    return (
        f"it will be Inconclusive: {gate.metric} is no mean of its items' values, so that no confidence bound is "
        "known; hint: rule: point judges the bare score"
    )
