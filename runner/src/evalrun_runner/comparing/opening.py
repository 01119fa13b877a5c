"""ComparisonFinding out who wrote what the user names, and opening it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from evalrun_runner.comparing.lm_eval_output import LmEvalOutput, find_results, is_results, several
from evalrun_runner.comparing.score_table import TableColumn, read_table
from evalrun_runner.comparing.scored import ScoredRun
from evalrun_runner.errors import InputError, listed
from evalrun_runner.ledger import layout
from evalrun_runner.store.base import ObjectStore

_MOST_NAME = 80
"""Characters of a name in tables and sentences."""
EXPECTED = "expected the output of a finished EvalRun, lm-eval's results with samples, or a CSV of items and models"


def open_runs(places: Sequence[str], only: Sequence[str] = ()) -> list[ScoredRun]:
    """Open everything that is to be compared, in its order.

    Args:
        places: Folders, ``s3://`` prefixes, result files of lm-eval, CSV files.
        only: Models of the CSV files that are wanted; all by default.

    Raises:
        InputError: One of them is none of these, or there are fewer than two runs.
    """
    labels = labels_of(places)
    runs: list[ScoredRun] = []
    tabled: list[str] = []
    for place, label in zip(places, labels, strict=True):
        opened = _open(place, label)
        tabled.extend(run.facts.model for run in opened if isinstance(run, TableColumn))
        runs.extend(run for run in opened if not only or not isinstance(run, TableColumn) or run.facts.model in only)
    runs = _told_apart(runs)
    if unknown := set(only) - set(tabled):
        raise InputError(
            f"--only {sorted(unknown)[0]}: no CSV file has such a model; there are {listed(tabled, 20) or 'none'}"
        )
    if len(runs) < 2:
        raise InputError(f"a comparison takes two runs or more, and here is {len(runs)}; {EXPECTED}")
    return runs


def labels_of(places: Sequence[str]) -> list[str]:
    """Name each place by its last component, or by as many as it takes to tell them apart."""
    parts = [_parts(_printable(place)) for place in places]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            return _shortened(labels)
    return [f"{place} ({number})" for number, place in enumerate(places, 1)]


def _parts(place: str) -> list[str]:
    """Return the components of a place that name a run: a result file of lm-eval is called like any other."""
    parts = [part for part in unquote(urlsplit(place).path or place).split("/") if part] or [place]
    return parts[:-1] if len(parts) > 1 and is_results(Path(parts[-1])) else parts


def _told_apart(runs: Sequence[ScoredRun]) -> list[ScoredRun]:
    labels = [run.label for run in runs]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise InputError(f"two of the runs are both called {twice[0]}: rename the columns or the files")
    return list(runs)


def _open(place: str, label: str) -> list[ScoredRun]:
    if place.startswith("s3://"):
        return [_evalrun(_store(place), label)]
    path = Path(unquote(urlsplit(place).path)) if place.startswith("file://") else Path(place).expanduser()
    if path.is_file():
        return _of_file(path, label)
    if not path.is_dir():
        raise InputError(f"{place}: there is no such file or folder; {EXPECTED}")
    if (path / layout.COMPLETE).exists() or (path / layout.PLAN).exists():
        return [_evalrun(_store(str(path)), label)]
    found = find_results(path)
    newest = [file for file in found if file.parent == found[-1].parent]
    if not found:
        raise InputError(f"{place} holds no run: there is neither plan.json nor results_<time>.json in it; {EXPECTED}")
    if len(newest) < len(found):
        raise InputError(
            f"{place} holds results of several models: {several(found)}; give the folder of one, or a result file"
        )
    return [LmEvalOutput(found[-1], label)]


def _of_file(path: Path, label: str) -> list[ScoredRun]:
    if is_results(path):
        return [LmEvalOutput(path, label)]
    if path.suffix.lower() == ".csv":
        table = read_table(path)
        names = _shortened([_printable(model) for model in table.models])
        return [TableColumn(table, model, name) for model, name in zip(table.models, names, strict=True)]
    raise InputError(f"{path}: {EXPECTED}")


def _shortened(names: Sequence[str]) -> list[str]:
    """Cut long names in their middle, unless two would then be one."""
    half = _MOST_NAME // 2
    short = [name if len(name) <= _MOST_NAME else f"{name[:half]}…{name[-half:]}" for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


def _printable(name: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in name)


def _evalrun(store: ObjectStore, label: str) -> ScoredRun:
    # Not before it is needed: the ledger imports pyarrow.
    from evalrun_runner.comparing.evalrun_output import EvalRunOutput

    return EvalRunOutput(store, label)


def _store(uri: str) -> ObjectStore:
    from evalrun_runner.store.open import StoreSpec, open_store

    return open_store(StoreSpec(uri))
