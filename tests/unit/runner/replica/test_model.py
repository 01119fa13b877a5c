"""A replica brings its model to its own machine before it loads it. The engine is the mock one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import huggingface_hub.constants
import pytest

from evalrun_api import Reason
from evalrun_api.wire.outputs import RecordedReplica
from evalrun_runner.engine.mock import ByteTokenizer, MockEngine, MockSettings
from evalrun_runner.engine.protocol import Output
from evalrun_runner.engine.tokens import Tokenizer
from evalrun_runner.engine.vllm import VllmSettings, prepare_environment
from evalrun_runner.errors import EvalRunError, InputError, RunFailed, StoreError, StoreUnavailable
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.models import LocalModel, ModelSource, inspect_model, model_digest
from evalrun_runner.records.messages import Order
from evalrun_runner.replica.assembly import Parts, build_replica
from evalrun_runner.replica.loading import Libraries
from evalrun_runner.replica.replica import Replica
from evalrun_runner.replica.settings import ReplicaSettings
from evalrun_runner.store.memory import MemoryStore
from evalrun_runner.store.open import StoreSpec
from support.model_files import model_content, write_files

ENGINE = VllmSettings(model=Path("/of/the/driver"), seed=1, replicas_per_host=2)


class Vllm(MockEngine):
    """What the replica takes for vLLM; it notes what it was given."""

    given: VllmSettings | None = None

    def __init__(self, settings: VllmSettings) -> None:
        super().__init__(MockSettings())
        Vllm.given = settings
        self.arguments = {"model": str(settings.model)}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in prepare_environment(ENGINE, 1):
        monkeypatch.setenv(name, "before")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


LIBRARIES = Libraries(vllm=Vllm, tokenizer=lambda _path: ByteTokenizer(), cpus=lambda: 6)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


class Load(Protocol):
    """Loads a replica with this model; returns what it says of itself."""

    def __call__(
        self, source: ModelSource, libraries: Libraries = LIBRARIES, *, strict: bool = False
    ) -> dict[str, Any]: ...


@pytest.fixture
def load(store: MemoryStore) -> Iterator[Load]:
    loaded: list[Replica] = []

    def load(source: ModelSource, libraries: Libraries = LIBRARIES, *, strict: bool = False) -> dict[str, Any]:
        settings = ReplicaSettings(
            store=StoreSpec("/nowhere"), engine=ENGINE, recipes={}, seed=1, model=source, strict=strict
        )
        parts = Parts(open_store=lambda _: store, libraries=libraries)
        replica = build_replica(f"r{len(loaded)}", settings, parts)
        facts = replica.load()
        loaded.append(replica)
        return facts

    yield load
    for replica in loaded:
        replica.exchange(Order(done=True), 0.0)


def test_a_replica_loads_the_model_that_it_fetched_and_reports_its_digest(
    load: Load, store: MemoryStore, tmp_path: Path
) -> None:
    directory = write_files(tmp_path / "model", model_content())
    facts = load(inspect_model(ModelSource(directory.as_uri()), tmp_path / "driver").source)
    assert Vllm.given == replace(ENGINE, model=directory)
    assert facts["modelDigest"] == model_digest(directory) == Ledger(store).claimed_model()
    assert facts["engineArgs"] == {"model": str(directory)}
    assert facts["hardware"]["cpus"] >= 1
    assert (tmp_path / "cache" / "evalrun" / "digests").is_dir()


class CrowdedVllm(Vllm):
    """Answers in another way where several requests share a batch."""

    def step(self) -> list[tuple[str, Output]]:
        alone = self.stats().running == 1
        return [(name, output if alone else replace(output, text="other")) for name, output in super().step()]


def test_a_strict_replica_reports_its_proof_or_does_no_work(load: Load, tmp_path: Path) -> None:
    source = ModelSource(write_files(tmp_path / "model", model_content()).as_uri())
    assert "strictProof" not in load(source)
    proof = RecordedReplica.model_validate(load(source, strict=True)).strict_proof
    assert proof is not None and proof.repeats > proof.answers > 0
    with pytest.raises(InputError, match="numerics: strict, but") as no:
        load(source, replace(LIBRARIES, vllm=CrowdedVllm), strict=True)
    assert no.value.reason is Reason.NUMERICS_NOT_STRICT


def test_the_environment_is_set_and_the_hub_is_not_contacted_any_more(load: Load, tmp_path: Path) -> None:
    load(ModelSource(write_files(tmp_path / "model", model_content()).as_uri()))
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert huggingface_hub.constants.is_offline_mode()


def test_a_replica_with_another_model_is_refused(load: Load, store: MemoryStore, tmp_path: Path) -> None:
    first = write_files(tmp_path / "first", model_content(seed=1))
    other = write_files(tmp_path / "other", model_content(seed=2))
    load(ModelSource(first.as_uri()))
    load(ModelSource(first.as_uri()))
    with pytest.raises(InputError, match=f"begun with {model_digest(first)}\n  found now  {model_digest(other)}") as no:
        load(ModelSource(other.as_uri()))
    assert no.value.reason is Reason.MODEL_INVALID
    assert Ledger(store).claimed_model() == model_digest(first)


def test_a_model_other_than_the_runs_is_refused(load: Load, store: MemoryStore, tmp_path: Path) -> None:
    directory = write_files(tmp_path / "model", model_content())
    with pytest.raises(InputError, match=f"expected sha256:{'0' * 64}") as no:
        load(ModelSource(directory.as_uri(), digest=f"sha256:{'0' * 64}"))
    assert no.value.reason is Reason.MODEL_INVALID
    assert Ledger(store).claimed_model() is None


def test_a_failed_download_is_not_a_refusal_so_that_a_replacement_may_succeed(
    load: Load,
) -> None:
    def away(*_: object, **__: object) -> LocalModel:
        raise StoreUnavailable("s3://bucket/m: 503")

    with pytest.raises(RunFailed, match="the model could not be brought here: s3://bucket/m: 503") as gone:
        load(ModelSource("s3://bucket/m"), replace(LIBRARIES, fetch=away))
    assert not isinstance(gone.value, StoreError)


def test_an_engines_refusal_without_its_own_reason_is_due_to_the_model(load: Load, tmp_path: Path) -> None:
    def refuse(_path: Path) -> Tokenizer:
        raise InputError("the tokenizer cannot be loaded")

    source = ModelSource(write_files(tmp_path / "model", model_content()).as_uri())
    with pytest.raises(EvalRunError, match="tokenizer") as no:
        load(source, replace(LIBRARIES, tokenizer=refuse))
    assert no.value.reason is Reason.MODEL_INVALID
