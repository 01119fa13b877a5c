"""Number of examples in a prompt against the documents from which they are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lm_eval.api.samplers import ContextSampler, FirstNSampler
from lm_eval.api.task import ConfigurableTask

from evalrun_runner.benchmarks.checks.objections import Objection
from evalrun_runner.benchmarks.load import LeafTask, LoadedBenchmarks


def check_fewshot(loaded: LoadedBenchmarks) -> Iterator[Objection]:
    """Find tasks that ask for more examples than there are documents to draw from."""
    for leaf in loaded.leaves:
        if (objection := _too_few(leaf)) is not None:
            yield objection


def _too_few(leaf: LeafTask) -> Objection | None:
    task = leaf.task
    sampler: Any = getattr(task, "sampler", None)
    wanted = task.config.num_fewshot or 0
    # A sampler of the task's own draws by rules of its own.
    if not wanted or not isinstance(task, ConfigurableTask) or type(sampler) not in (ContextSampler, FirstNSampler):
        return None
    pool = len(sampler.fewshot_indices or sampler.df or ())
    itself = _may_draw_itself(task, sampler)
    if wanted + itself <= pool:
        return None
    where = _where(task)
    documents = f"{pool} document{'' if pool == 1 else 's'}"
    what = f"num_fewshot is {wanted}, {where} has {documents}"
    if itself and pool:
        what += f", and the one that is asked is never its own example: expected at least {wanted + itself}"
    most = max(0, pool - itself)
    hint = f"set numFewshot of benchmark {leaf.benchmark.name} to {most}{' or less' if most else ''}, or add documents"
    return Objection(leaf.name, what, hint)


def _may_draw_itself(task: ConfigurableTask, sampler: ContextSampler) -> bool:
    """Return whether a draw needs one document more, because the document that is asked may be among them.

    lm-eval draws one more than it needs if the examples' split is the test split, also if neither is set.
    """
    split, test = task.fewshot_cfg.split, task.config.test_split
    return bool(split == test and (split is not None or type(sampler) is ContextSampler))


def _where(task: ConfigurableTask) -> str:
    config = task.config
    if task.fewshot_cfg.split is None and task.fewshot_cfg.samples is not None:
        return "fewshot_config.samples"
    split = task.fewshot_cfg.split or config.training_split or config.validation_split or config.test_split
    return f"the split {split}"
