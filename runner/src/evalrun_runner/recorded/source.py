"""Where recorded answers lie, found out before anything is scored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from evalrun_api import Numerics, Reason, RunLocation
from evalrun_api.wire.outputs import Results
from evalrun_runner.errors import InputError, LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.ledger.unfinished import why_unfinished
from evalrun_runner.models.digest import file_sha256
from evalrun_runner.recorded.file_answers import FileAnswers
from evalrun_runner.recorded.run_answers import RunAnswers
from evalrun_runner.records.plan import Item
from evalrun_runner.records.results import Outcome
from evalrun_runner.store.access import store_spec
from evalrun_runner.store.open import StoreSpec, open_store

FILE_ENDING = ".jsonl"
UNKNOWN_ENGINE = "recorded"
"""Name of the engine where nobody knows what made the answers."""


@dataclass(frozen=True, slots=True)
class RecordedSource:
    """Recorded answers as the preflight found them. Picklable: each replica opens them for itself."""

    uri: str
    digest: str
    """sha256:… of the run's results, or of the file."""
    engine: str
    """What made the answers: the run's engine, ``recorded`` for a file."""
    numerics: Numerics = Numerics.FAST
    """How the answers were computed, as far as anybody knows."""
    model_digest: str | None = None
    store: StoreSpec | None = None
    """The run's output; None: the answers are in ``file``."""
    file: Path | None = None


class Answers(Protocol):
    """Recorded answers. Used by one thread."""

    def outcome(self, item: Item) -> Outcome:
        """Return an item's recorded answer, or a failed outcome that says why it has none."""


def inspect_source(location: RunLocation) -> RecordedSource:
    """Find out what recorded answers there are.

    Raises:
        InputError: There are none, or their run is not finished.
        LedgerCorrupt: The run's results are damaged.
    """
    if location.uri.rstrip("/").endswith(FILE_ENDING):
        return _file(location)
    spec = store_spec(location)
    store = open_store(spec)
    ledger = Ledger(store)
    try:
        data = ledger.completed_results()
    except ObjectMissing as error:
        raise InputError(
            f"spec.engine.recorded: {location.uri} {why_unfinished(store)}; expected the output of a finished run, "
            f"or a file that ends in {FILE_ENDING}",
            reason=Reason.NOT_FOUND,
        ) from error
    try:
        made = Results.read(data).evalrun
    except ValueError as error:
        raise LedgerCorrupt(f"{location.uri}: results.json is damaged ({error})") from error
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return RecordedSource(location.uri, digest, made.engine, made.numerics, ledger.claimed_model(), store=spec)


def open_answers(source: RecordedSource) -> Answers:
    """Open recorded answers. Raises ``InputError`` and the errors of the store."""
    if source.file is not None:
        return FileAnswers(source.file)
    assert source.store is not None, "recorded answers are in a run or in a file"
    return RunAnswers(Ledger(open_store(source.store)))


def _file(location: RunLocation) -> RecordedSource:
    parts = urlsplit(location.uri)
    if parts.scheme != "file":
        raise InputError(
            f"spec.engine.recorded: {location.uri} is a file on a store; expected one of this machine\n"
            "hint: copy it here first",
            reason=Reason.INVALID_SPEC,
        )
    file = Path(unquote(parts.path.rstrip("/")))
    try:
        digest = file_sha256(file)
    except OSError as error:
        raise InputError(
            f"{file}: {error.strerror or error}; expected a file of answers, one JSON object with id and text a line",
            reason=Reason.NOT_FOUND,
        ) from error
    return RecordedSource(location.uri, f"sha256:{digest}", UNKNOWN_ENGINE, file=file)
