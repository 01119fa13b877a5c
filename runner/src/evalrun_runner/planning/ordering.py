"""Order of a run's items: drawn where the run may stop early, else that of the documents."""

from __future__ import annotations

from dataclasses import replace

from evalrun_api import EvalRunSpec
from evalrun_runner.errors import InputError
from evalrun_runner.planning.chunks import ChunkSizing
from evalrun_runner.records.draw import DrawnOrder


def in_order(sizing: ChunkSizing, spec: EvalRunSpec) -> ChunkSizing:
    """Return how a new run's items are cut, in the order that the spec asks for."""
    return replace(sizing, order=_order(spec))


def check_order(sizing: ChunkSizing, spec: EvalRunSpec, where: str) -> None:
    """Refuse to stop a run early whose items were planned in an order in which no look would be valid.

    A run that may not stop early evaluates its items in any order.

    Args:
        sizing: How the items are cut, by the plan that is there.
        spec: The run's spec.
        where: The run with that plan, for messages.

    Raises:
        InputError: The plan has another order than early stopping needs.
    """
    wanted = _order(spec)
    if wanted is None or sizing.order == wanted:
        return
    if sizing.order is None:
        what = "its items are in the order of their documents, of which no part is a random sample"
    else:
        what = f"its items were drawn for {sizing.order.looks} looks with seed {sizing.order.seed}"
    raise InputError(
        f"spec.policy.stopEarly: {where} was planned another way: {what}; expected is a plan for {wanted.looks} looks "
        f"with seed {wanted.seed}\nhint: take stopEarly out to evaluate the rest of it, or begin a run of its own: "
        "another output, without resumeFrom"
    )


def _order(spec: EvalRunSpec) -> DrawnOrder | None:
    stop = spec.policy.stop_early
    return None if stop is None else DrawnOrder(spec.seed, stop.looks)
