"""Find settings of a run that have no effect on the engine and the model that it has."""

from __future__ import annotations

from collections.abc import Iterator

from evalrun_api import EvalRunSpec, ModelScheme, Numerics, RunConfig, RunWarning, Storage
from evalrun_api.base import Model
from evalrun_api.rules import camel

ONLY_IN_A_CLUSTER = (
    *("model.cache", "replicas.min_count", "replicas.resources", "replicas.node_selector", "replicas.tolerations"),
    *("replicas.priority_class_name", "replicas.runtime_class_name", "policy.max_attempts"),
    *("policy.active_deadline_seconds", "policy.ttl_seconds_after_finished", "policy.suspend"),
)
"""Fields of the spec that only the operator reads."""


def check_settings_of_cluster(spec: EvalRunSpec) -> Iterator[RunWarning]:
    """Warn of settings that a run on one machine does not read."""
    given = []
    for place in ONLY_IN_A_CLUSTER:
        block, name = place.split(".")
        model: Model = getattr(spec, block)
        if getattr(model, name) != type(model).model_fields[name].get_default(call_default_factory=True):
            given.append(f"{block}.{camel(name)}")
    if given:
        verb = "have" if len(given) > 1 else "has"
        yield RunWarning(about="spec", message=f"{', '.join(given)} {verb} no effect on one machine, only in a cluster")


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
    for number, benchmark in enumerate(spec.benchmarks if mock else ()):
        if benchmark.chat_template_args:
            yield f"spec.benchmarks[{number}].chatTemplateArgs", "the mock engine's template reads no variables"
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
