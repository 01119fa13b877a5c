"""Clusters, strata and tags that a task's YAML declares of its documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import datasets
import pytest

from evalrun_runner.benchmarks.declared import DeclaredFields, check_fields, declared_fields
from evalrun_runner.benchmarks.item_labels import item_labels
from evalrun_runner.errors import InputError

DOCUMENTS: list[dict[str, Any]] = [
    {"passage": "a", "level": 1, "domain": ["maths", "logic"], "hard": True},
    {"passage": "a", "level": 2, "domain": "logic", "hard": False},
    {"passage": None, "level": None, "domain": [], "hard": True},
    {"passage": None, "level": 2, "domain": None, "hard": None},
]


def test_a_task_declares_nothing_by_itself() -> None:
    for metadata in (None, {}, {"version": 1.0}, {"evalrun": {"retyped": "allow"}}):
        assert declared_fields(metadata) == DeclaredFields()
    assert item_labels(DeclaredFields(), DOCUMENTS).clusters is None


def test_one_stratum_may_stand_without_a_list() -> None:
    own = {"cluster": "passage", "strata": "level", "tags": "domain"}
    assert declared_fields({"evalrun": own}) == DeclaredFields("passage", ("level",), "domain")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"clusters": "passage"}, r"metadata\.evalrun\.clusters: there is no such key; did you mean cluster\?"),
        ({"cluster": ["passage"]}, r"metadata\.evalrun\.cluster: expected the name of a field"),
        ({"strata": 3}, r"metadata\.evalrun\.strata: expected a list of fields"),
        ({"strata": ["level", ""]}, r"metadata\.evalrun\.strata: expected the name of a field"),
        ("passage", r"metadata\.evalrun: expected keys such as cluster"),
    ],
)
def test_a_wrong_declaration_is_refused_by_name(own: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        declared_fields({"evalrun": own})


def test_a_field_that_documents_lack_is_refused_with_the_near_miss() -> None:
    with pytest.raises(InputError, match=r"no field 'pasage'; did you mean passage\? they have"):
        check_fields(DeclaredFields("pasage"), DOCUMENTS[0])
    check_fields(DeclaredFields("passage", ("level",)), DOCUMENTS[0])


@pytest.mark.parametrize("made", [list, datasets.Dataset.from_list])
def test_labels_of_documents(made: Callable[[list[dict[str, Any]]], Any]) -> None:
    documents = made([{name: one[name] for name in ("passage", "level", "hard")} for one in DOCUMENTS[1:]])
    labels = item_labels(DeclaredFields("passage", ("level", "hard")), documents)
    assert labels.clusters is not None
    assert labels.clusters.tolist() == [0, 1, 2], "a document without a value is a cluster of its own"
    assert {name: places.tolist() for name, places in labels.strata.items()} == {
        "level=2": [0, 2],
        "hard=false": [0],
        "hard=true": [1],
    }


def test_a_document_may_have_several_tags() -> None:
    labels = item_labels(DeclaredFields(tags="domain"), DOCUMENTS)
    assert {name: places.tolist() for name, places in labels.strata.items()} == {
        "domain=logic": [0, 1],
        "domain=maths": [0],
    }


def test_a_field_with_a_value_for_each_document_is_no_stratum() -> None:
    labels = item_labels(DeclaredFields(strata=("name",)), [{"name": str(number)} for number in range(101)])
    assert not labels.strata
    assert "has 101 values, more than the 100" in labels.remarks[0]


def test_a_field_that_names_most_documents_is_no_stratum() -> None:
    names = item_labels(DeclaredFields(strata=("name",)), [{"name": str(number)} for number in range(60)])
    assert not names.strata
    assert "'name' has 60 values, most of them in one document alone" in names.remarks[0]

    few = item_labels(DeclaredFields(strata=("name",)), [{"name": str(number)} for number in range(3)])
    assert len(few.strata) == 3 and not few.remarks, "three documents of three kinds are a small task"


def test_documents_without_a_cluster_are_counted() -> None:
    documents = [{"passage": "a"}, {"passage": None}, {"passage": "a"}, {}]
    remarks = item_labels(DeclaredFields("passage"), documents).remarks
    assert remarks == (
        "metadata.evalrun.cluster: 2 of 4 documents have no value of 'passage': each of them counts as a cluster of "
        "its own",
    )
    assert not item_labels(DeclaredFields("passage"), documents[:1]).remarks
