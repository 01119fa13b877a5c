"""Outputs without ``COMPLETE``: what is in them."""

from __future__ import annotations

from evalrun_runner.ledger import layout
from evalrun_runner.store.base import ObjectStore


def why_unfinished(store: ObjectStore) -> str:
    """Say what an output without ``COMPLETE`` is."""
    if any(store.exists(key) for key in (layout.PLAN, layout.RUN)):
        return "holds a run that is not finished (no COMPLETE in it)"
    return "holds no run (no plan.json in it)" if _holds_anything(store) else "is not there, or is empty"


def _holds_anything(store: ObjectStore) -> bool:
    return next(iter(store.list("")), None) is not None
