"""lm-eval's log: noise is dropped, and what matters is said once."""

from __future__ import annotations

import logging

import pytest

from evalrun_runner.benchmarks.lm_eval_log import lm_eval_log

TASK_LOG = logging.getLogger("lm_eval.api.task")


def test_what_matters_is_said_once_with_its_tasks() -> None:
    with lm_eval_log() as log:
        for number in range(5):
            TASK_LOG.warning("[t%d] passed `generation_kwargs`, but not using it", number)
        TASK_LOG.warning("t9: Both split and samples are configured")

    assert [warning.line for warning in log.warnings] == [
        "t0, t1, t2 and 2 more tasks: lm-eval: passed `generation_kwargs`, but not using it",
        "t9: lm-eval: Both split and samples are configured",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "[Task: a] metric acc is defined, but aggregation is not. using default aggregation=mean",
        "[Task: a] metric acc is defined, but higher_is_better is not. using default higher_is_better=True",
        "[Task: a] num_fewshot > 0 but fewshot_split is None. using preconfigured rule.",
        "a: No `until` specified in `generation_kwargs`! Defaulting to the fewshot_delimiter='x'",
    ],
)
def test_defaults_that_guides_recommend_are_noise(text: str) -> None:
    with lm_eval_log() as log:
        TASK_LOG.warning(text)

    assert log.warnings == ()


def test_nothing_is_printed_meanwhile_and_everything_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    with lm_eval_log():
        TASK_LOG.warning("during")
    TASK_LOG.warning("after")

    assert [record.message for record in caplog.records] == ["after"]
