"""Loading of a replica's engine: fetch the model to this machine, load it, and prepare the intake."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from evalrun_api import Reason
from evalrun_runner.engine.canary import check_adapters, prove_strict
from evalrun_runner.engine.mock import ByteTokenizer, MockEngine, MockSettings
from evalrun_runner.engine.protocol import Engine
from evalrun_runner.engine.recorded import NoEngine, RecordedSettings
from evalrun_runner.engine.requests import RequestPlanner
from evalrun_runner.engine.tokens import TextCodec, Tokenizer, load_tokenizer
from evalrun_runner.engine.vllm import EngineAdapter, VllmEngine, VllmSettings, prepare_environment
from evalrun_runner.errors import default_reason
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.machine import usable_cpus
from evalrun_runner.models.adapter import bring_adapter
from evalrun_runner.models.fetch import fetch_model
from evalrun_runner.recorded.source import open_answers
from evalrun_runner.replica.intake import Intake
from evalrun_runner.replica.model import Fetch, FetchAdapter, bring_an_adapter, bring_model
from evalrun_runner.replica.pump import Pump
from evalrun_runner.replica.settings import ReplicaSettings


class ConfiguredEngine(Engine, Protocol):
    """Engine that records the arguments that it was started with."""

    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Libraries:
    """Functions of this machine and of libraries that loading an engine uses, by default those of production."""

    vllm: Callable[[VllmSettings], ConfiguredEngine] = VllmEngine
    tokenizer: Callable[[Path], Tokenizer] = load_tokenizer
    fetch: Fetch = fetch_model
    fetch_adapter: FetchAdapter = bring_adapter
    cpus: Callable[[], int] = usable_cpus


@dataclass(frozen=True, slots=True)
class LoadedEngine:
    """Loaded engine with its pump and intake."""

    engine: Engine
    pump: Pump
    """Driver of the engine."""
    intake: Intake
    """Intake that plans calls for the engine."""
    facts: Mapping[str, object]
    """Facts about the engine for the provenance."""


class EngineLoader:
    """Loader of the engine that the settings name."""

    def __init__(self, settings: ReplicaSettings, ledger: Ledger, libraries: Libraries) -> None:
        self._settings = settings
        self._ledger = ledger
        self._libraries = libraries

    def prepare(self) -> None:
        """Set the environment of this process: nothing may have imported torch before."""
        if isinstance(self._settings.engine, VllmSettings):
            os.environ.update(prepare_environment(self._settings.engine, self._libraries.cpus()))

    def load(self) -> LoadedEngine:
        """Fetch the model and load the engine, in the thread that will drive it. Raises ``EvalRunError``."""
        facts: dict[str, object] = {}
        engine, codec = self._engine(facts)
        settings = self._settings
        if settings.adapter_of:
            names = tuple(dict.fromkeys(settings.adapter_of.values()))
            facts["adapterEffects"] = check_adapters(engine, codec, names)
        if settings.strict:
            facts["strictProof"] = prove_strict(engine, codec)
        planner = RequestPlanner(
            codec,
            max_model_len=engine.max_model_len,
            fast=settings.fast,
            seed=settings.seed,
            thinking=settings.thinking,
        )
        answers = None if settings.recorded is None else open_answers(settings.recorded)
        intake = Intake(self._ledger, planner, carried=settings.carried, adapters=settings.adapter_of, answers=answers)
        return LoadedEngine(engine, Pump(engine, item_deadline=settings.item_deadline), intake, facts)

    def _adapters(self) -> tuple[EngineAdapter, ...]:
        return tuple(
            EngineAdapter(name, adapter.path, adapter.shape.rank, adapter.shape.targets)
            for name, source in self._settings.adapters.items()
            for adapter in [bring_an_adapter(name, source, self._settings.cache_dir, self._libraries.fetch_adapter)]
        )

    def _engine(self, facts: dict[str, object]) -> tuple[Engine, TextCodec]:
        match self._settings.engine:
            case VllmSettings() as settings:
                if self._settings.model is not None:
                    model = bring_model(self._settings.model, self._settings.cache_dir, self._libraries.fetch)
                    self._ledger.claim_model(model.digest)
                    facts["modelDigest"] = model.digest
                    settings = replace(settings, model=model.path, adapters=self._adapters())
                with default_reason(Reason.MODEL_INVALID):
                    engine = self._libraries.vllm(settings)
                    facts["engineArgs"] = engine.arguments
                    return engine, TextCodec(self._libraries.tokenizer(settings.model))
            case RecordedSettings() as settings:
                return NoEngine(settings), TextCodec(ByteTokenizer())
            case MockSettings() as settings:
                return MockEngine(settings), TextCodec(ByteTokenizer())
