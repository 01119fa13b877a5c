"""Collect what a report holds from the documents of a finished run. Pure: what was read is passed in."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalrun_api import RunResult, Score
from evalrun_api.wire.outputs import RecordedAttempt, Results, RunRecord
from evalrun_runner.errors import listed
from evalrun_runner.report import words
from evalrun_runner.report.content import ReportContent, ScoreLine
from evalrun_runner.report.text import one_line

MOST_SCORES = 2_000
"""Rows of a table of scores."""
MOST_WARNINGS = 100
_MOST_NAMES = 8


@dataclass(frozen=True, slots=True)
class ReportDocuments:
    """Documents of a finished run."""

    result: RunResult
    """Scores, gates and verdict."""
    results: Results
    record: RunRecord


def collect(documents: ReportDocuments) -> ReportContent:
    """Collect everything that the documents alone say."""
    result, results, record = documents.result, documents.results, documents.record
    lines = _score_lines(result.scores, results)
    gates = [words.gate_line(gate) for gate in result.gates]
    strata = _strata(results)
    account = results.evalrun.counts
    warnings = [warning.line for warning in result.warnings]
    if results.config.limit is not None:
        warnings.insert(0, f"Only the first {results.config.limit} items of each task were asked (limit).")
    return ReportContent(
        title=f"{record.model.name} · {record.name}",
        model=record.model.name,
        run=f"{record.namespace}/{record.name}" if record.namespace else record.name,
        when=(record.created or "")[:16].replace("T", " "),
        headline=words.headline(gates, result.verdict, lines, results.evalrun.engine),
        account=(
            f"{words.count(account.planned)}: {account.ok:,} with a score, {account.failed:,} failed, "
            f"{account.quarantined:,} quarantined"
            + (f", {account.skipped:,} skipped" if account.skipped else "")
            + (f"; answers: {account.answers.odd}" if account.answers is not None and account.answers.odd else "")
            + (f"; stopped early: {results.evalrun.stopped}" if results.evalrun.stopped else "")
        ),
        gates=gates,
        scores=lines[:MOST_SCORES],
        scores_left_out=max(0, len(lines) - MOST_SCORES),
        strata=strata[:MOST_SCORES],
        strata_left_out=max(0, len(strata) - MOST_SCORES),
        failures_total=account.failed + account.quarantined,
        warnings=warnings[:MOST_WARNINGS],
        warnings_left_out=max(0, len(warnings) - MOST_WARNINGS),
        provenance=tuple(_provenance(record, results, result.results_uri or "")),
        rerun=tuple(_rerun(record, result.results_uri or "")),
        spec=_spec(record),
    )


def _score_lines(scores: Sequence[Score], results: Results) -> list[ScoreLine]:
    return [
        ScoreLine(
            task=score.task,
            metric=score.metric,
            filter=score.filter,
            value=score.value,
            low=None if score.interval is None else score.interval.low,
            high=None if score.interval is None else score.interval.high,
            stderr=score.stderr,
            n=score.n,
            note=_note(score, results),
            is_group=bool(results.group_subtasks.get(score.task)),
            lower_is_better=bool(score.lower_is_better),
            method="" if score.interval is None else score.interval.method,
        )
        for score in scores
    ]


def _strata(results: Results) -> list[ScoreLine]:
    return [
        ScoreLine(
            task=one.task,
            metric=one.metric,
            filter=one.filter,
            value=one.value,
            low=one.low,
            high=one.high,
            stderr=None,
            n=one.n,
            stratum=one.stratum,
            note=one.note or "",
            method=one.method or "",
        )
        for one in results.evalrun.intervals or ()
        if one.stratum is not None
    ]


def _note(score: Score, results: Results) -> str:
    """Say why a score has no value, or what is to be known of its interval."""
    wanted = (score.task, score.metric, score.filter)
    if score.value is not None:
        notes = (
            one.note
            for one in results.evalrun.intervals or ()
            if (one.task, one.metric, one.filter) == wanted and one.stratum is None
        )
        return next(notes, None) or ""
    found = (one.reason for one in results.evalrun.unscored or () if (one.task, one.metric, one.filter) == wanted)
    return next(found, "it is no finite number")


def _provenance(record: RunRecord, results: Results, uri: str) -> Iterator[tuple[str, str]]:
    model, engine = record.model, record.engine
    pinned = model.digest or model.revision or model.listing
    yield "model", f"{model.name} from {model.uri}" + (f", {pinned}" if pinned else "")
    args = ", ".join(f"{name}={value}" for name, value in sorted((engine.args or {}).items()))
    yield "engine", one_line(f"{engine.name}, numerics {engine.numerics}" + (f": {args}" if args else ""), 1_000)
    yield "tasks", _tasks(record, results)
    yield "seed", str(record.seed)
    yield "limit", "none: all items" if results.config.limit is None else f"the first {results.config.limit} items"
    if record.attempts:
        last = record.attempts[-1]
        yield "software", ", ".join(f"{name} {version}" for name, version in sorted(last.versions.items()))
        if last.images:
            yield "images", ", ".join(last.images.values())
        yield "machines", _machines(last)
        yield "time", _time(record.attempts)
    if record.resumed_from is not None:
        yield "resumed from", record.resumed_from
    yield "run", f"{record.name}, uid {record.uid}"
    yield "results", uri


def _tasks(record: RunRecord, results: Results) -> str:
    named = [f"{task} (version {results.versions.get(task, of.version)})" for task, of in record.tasks.items()]
    return one_line(listed(named, _MOST_NAMES), 2_000)


def _machines(attempt: RecordedAttempt) -> str:
    machines = [replica.hardware for replica in (attempt.replicas or {}).values() if replica.hardware is not None]
    described = [", ".join(one.gpus) or f"{one.cpu}, {one.cpus} CPUs" for one in machines]
    counts: Mapping[str, int] = {one: described.count(one) for one in dict.fromkeys(described)}
    if not counts:
        return f"driver on {attempt.hardware.cpu}, {attempt.hardware.cpus} CPUs"
    return "; ".join(f"{words.count(number, 'replica')} on {one}" for one, number in counts.items())


def _time(attempts: Sequence[RecordedAttempt]) -> str:
    ended = attempts[-1].ended
    several = f", {len(attempts)} driver processes" if len(attempts) > 1 else ""
    return f"{attempts[0].started} to {ended or 'the end, which is not recorded'}{several}"


def _rerun(record: RunRecord, uri: str) -> Iterator[tuple[str, str]]:
    place = shlex.quote(uri)
    yield "Save the EvalRun below as run.yaml, and run it anew on one machine", "evalrun run run.yaml --output NEW"
    yield "The same in a cluster, with another metadata.name", "kubectl apply -f run.yaml"
    yield "Print these scores and verdicts again", f"evalrun results {place}"
    yield "Make this report anew, against another run", f"evalrun report {place} --baseline OTHER"


def _spec(record: RunRecord) -> str:
    import yaml

    whole = {
        "apiVersion": record.api_version,
        "kind": "EvalRun",
        "metadata": {"name": record.name},
        "spec": record.spec.to_dict(),
    }
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)


def headline_scores(lines: Iterable[ScoreLine], most: int) -> list[ScoreLine]:
    """Choose the scores that a picture shows: groups before tasks, those with a value, shares only."""
    drawn = [line for line in lines if line.value is not None and line.is_share]
    return [line for line in drawn if line.is_group][:most] + [line for line in drawn if not line.is_group][
        : max(0, most - sum(line.is_group for line in drawn))
    ]
