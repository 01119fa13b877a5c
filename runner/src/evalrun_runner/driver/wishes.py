"""Find settings of a run that have no effect on the engine and the model that it has."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_api import ModelScheme, Numerics, RunConfig, RunWarning, Storage


def check_settings_of_run(config: RunConfig) -> Iterator[RunWarning]:
    """Warn of settings without effect outside of the benchmarks."""
    for field, why in _without_effect(config):
        yield RunWarning(about=field, message=f"it has no effect: {why}")


def _without_effect(config: RunConfig) -> Iterator[tuple[str, str]]:
    spec = config.spec
    mock = spec.engine.mock is not None
    if spec.model.chat_template is not None:
        if mock:
            yield "spec.model.chatTemplate", "the mock engine has a template of its own, and asks no model"
        elif not any(benchmark.apply_chat_template for benchmark in spec.benchmarks):
            yield "spec.model.chatTemplate", "no benchmark sets applyChatTemplate: true"
    if mock and spec.engine.numerics is not Numerics.FAST:
        yield "spec.engine.numerics", "the mock engine computes nothing"
    storage = spec.model.storage
    only_secret = None if storage is None else Storage(credentials_secret_ref=storage.credentials_secret_ref)
    if storage != only_secret and spec.model.scheme is ModelScheme.HF:
        yield "spec.model.storage", "of an hf:// model only the Secret with HF_TOKEN is used, and no other field"
    if spec.engine.vllm is not None and spec.engine.vllm.args.gpu_memory_utilization is not None:
        field = "spec.engine.vllm.args.gpu_memory_utilization"
        if spec.engine.vllm.args.kv_cache_memory_bytes is not None:
            yield field, "kv_cache_memory_bytes, which is given too, comes before it"
        elif not config.gpus_per_replica:
            yield (
                field,
                "without a GPU kv_cache_memory_bytes sets the size of the cache",
            )
