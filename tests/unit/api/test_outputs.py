"""Documents of a run's output: those of earlier versions are read, and written unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalrun_api.wire.outputs import (
    DOCUMENTS,
    CompletionMark,
    Document,
    RecordedAttempt,
    RunRecord,
    format_version_of,
)

GOLDEN = Path(__file__).parents[1] / "runner" / "ledger" / "golden" / "format-1"
"""The output of a run of the mock engine, made by EvalRun before these documents had models."""
EARLIER = {name: kind for name, kind in DOCUMENTS.items() if (GOLDEN / name).exists()}


@pytest.mark.parametrize(("name", "kind"), EARLIER.items())
def test_earlier_version_document_round_trips_byte_for_byte(name: str, kind: type[Document]) -> None:
    data = (GOLDEN / name).read_bytes()
    assert kind.read(data).write() == data


@pytest.mark.parametrize(("name", "kind"), EARLIER.items())
def test_fields_of_a_later_version_are_kept(name: str, kind: type[Document]) -> None:
    document = {**json.loads((GOLDEN / name).read_bytes()), "later": {"a_b": [1, None]}}
    assert json.loads(kind.read(json.dumps(document).encode()).write()) == document


@pytest.mark.parametrize(("name", "kind"), EARLIER.items())
def test_every_field_of_an_earlier_version_has_a_place_in_the_model(name: str, kind: type[Document]) -> None:
    def extras(document: Document) -> dict[str, object]:
        own = dict(document.model_extra or {})
        for field in type(document).model_fields:
            value = getattr(document, field)
            for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]:
                own |= extras(inner) if isinstance(inner, Document) else {}
        return own

    assert extras(kind.read((GOLDEN / name).read_bytes())) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is not a JSON object"),
        ('{"epoch": 1}', "it lacks results_sha256"),
        ("{}", "it lacks epoch, results_sha256"),
        ('{"epoch": "one", "results_sha256": "ab"}', "epoch: Input should be a valid integer"),
    ],
)
def test_damaged_document_is_explained(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompletionMark.read(text.encode())


def test_unset_fields_are_omitted_and_nulls_are_written() -> None:
    record = RunRecord.read((GOLDEN / "run.json").read_bytes())
    assert record.model.model_dump(by_alias=True, exclude_unset=True)["digest"] is None
    (attempt,) = record.attempts
    begun = RecordedAttempt.model_validate(
        {name: getattr(attempt, name) for name in ("epoch", "attempt", "started", "versions", "python", "images")}
        | {"hardware": attempt.hardware}
    )
    assert {"outcome", "ended", "replicas"}.isdisjoint(begun.as_written())
    assert begun.model_copy(update={"ended": "now"}).as_written()["ended"] == "now"


@pytest.mark.parametrize(("document", "version"), [({}, 1), ({"formatVersion": 1}, 1), ({"formatVersion": 7}, 7)])
def test_document_without_format_version_has_version_1(document: object, version: int) -> None:
    assert format_version_of(document) == version


@pytest.mark.parametrize("document", [[], None, {"formatVersion": 0}, {"formatVersion": "2"}, {"formatVersion": None}])
def test_invalid_format_version_is_rejected(document: object) -> None:
    with pytest.raises(ValueError, match=r"formatVersion|not a JSON object"):
        format_version_of(document)
