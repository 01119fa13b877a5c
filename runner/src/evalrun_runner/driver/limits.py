"""Gates that no answers could pass with so few items, told without the libraries that load tasks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_api import EvalRunSpec, Gate, RunWarning
from evalrun_api.detectable import why_never

SHARES = ("acc", "exact_match", "em", "pass@", "prompt_level", "mc1")
"""Beginnings of the names of metrics that are 0 or 1 for each item. Others may need fewer items: nothing is said."""


def why_gate_never(gate: Gate, items: int, where: str = "") -> str | None:
    """Say why no answers could pass a gate with a number of items; None where some could, or it is not known.

    Args:
        gate: The gate.
        items: Number of items that its score is made of.
        where: Words after the number of items.
    """
    why = why_never(gate, items) if gate.metric.startswith(SHARES) else None
    if why is None:
        return None
    return (
        f"it cannot pass: {why}{where}; hint: ask more items, or let it allow more; rule: point judges the bare score"
    )


def check_limits(spec: EvalRunSpec) -> Iterator[RunWarning]:
    """Warn of gates that cannot pass with the ``limit`` of their benchmark.

    A benchmark that is a group takes the limit of each of its tasks: that only the loaded tasks can tell.
    """
    limits: dict[str, int] = {}
    for benchmark in spec.benchmarks:
        if benchmark.limit is not None:
            limits[benchmark.task] = limits[benchmark.resolved_name] = benchmark.limit
    for number, gate in enumerate(spec.gates):
        if gate.task in limits:
            where = f" by its limit, unless {gate.task} is a group of tasks"
            if (why := why_gate_never(gate, limits[gate.task], where)) is not None:
                yield RunWarning(about=f"spec.gates[{number}]", message=why[:1024])
