"""A real engine short of cache, and what it says of itself: ``python -m support.engine_stats MODEL``.

Two engines, one after the other in this process: the first with a prefix cache, the second without. Prints one JSON
object with a report of each. The numbers beside the engine's own are counted by hand.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from evalrun_runner.engine.protocol import Call
from evalrun_runner.engine.vllm import VllmEngine, VllmSettings, prepare_environment

REQUESTS, SLOTS, PREFIX, GENERATED = 12, 8, 64, 80
BLOCK, BLOCKS = 32, 16


WITH_CACHE, WITHOUT_CACHE = "with cache", "without cache"


def main(model: Path) -> dict[str, Any]:
    return {WITH_CACHE: report(model, cache=True), WITHOUT_CACHE: report(model, cache=False)}


def report(model: Path, *, cache: bool) -> dict[str, Any]:
    """What one engine says, from its load to its end."""
    args = {"max_num_seqs": SLOTS, "enable_prefix_caching": cache, "block_size": BLOCK}
    settings = VllmSettings(model, 0, max_model_len=256, args={**args, "num_gpu_blocks_override": BLOCKS})
    # As for a GPU where it is told so from outside: the engine's core in a process of its own.
    os.environ.update(prepare_environment(settings, 1) | os.environ)
    engine = VllmEngine(settings)
    counted = count_preemptions(engine)
    report: dict[str, Any] = {"first": asdict(engine.stats()), "client": type(engine._engine.engine_core).__name__}
    for number in range(REQUESTS):
        options = {"ignore_eos": True}
        engine.add(str(number), Call([*range(100, 100 + PREFIX), 200 + number], GENERATED, options=options))
    steps, left = [], REQUESTS
    while left:
        left -= len(engine.step())
        steps.append(asdict(engine.stats()))
    report |= {"steps": steps, "preempted": len(counted)}
    engine.add("dropped", Call([1, 2, 3], GENERATED, options={"ignore_eos": True}))
    # From another process the last steps' words may come first.
    while not engine.stats().running:
        engine.step()
    report["busy"] = asdict(engine.stats())
    engine.abort(["dropped"])
    report["dropped"] = asdict(engine.stats())
    engine.close()
    report["exported"] = [name for name in REGISTRY._names_to_collectors if name.startswith("vllm")]
    return report


def count_preemptions(engine: VllmEngine) -> list[object]:
    """Every preemption, where the scheduler is in this process."""
    counted: list[object] = []
    core = getattr(engine._engine.engine_core, "engine_core", None)
    if core is not None:
        preempt = core.scheduler._preempt_request

        def noted(request: object, *args: Any, **kwargs: Any) -> Any:
            counted.append(request)
            return preempt(request, *args, **kwargs)

        core.scheduler._preempt_request = noted
    return counted


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
