"""Why an engine argument is refused, in words for the person who gave it."""

from __future__ import annotations

import difflib

from evalrun_api.spec.engine_args import OTHERS, VLLM_VERSION, EngineArgs

_CODE = "it names code to load, and a run loads no code"
_SAFETENSORS = "models are loaded from safetensors only"
_REMOTE = "a model's own code is never run"
_HARNESS = "it changes what is scored; the run sets it itself, so that scores are comparable"
_REPLICAS = "spec.replicas.count says how many engines there are, each on its own"
_PLATFORM = "the run sets it itself"

REFUSED: dict[str, str] = {
    "model": "spec.model.uri says it",
    "model_weights": "spec.model.uri says it",
    "served_model_name": "spec.model.name says it",
    "revision": "spec.model.revision says it",
    "tokenizer": "the tokenizer comes with the model, spec.model.uri",
    "tokenizer_revision": "the tokenizer comes with the model, spec.model.revision",
    "hf_token": "spec.model.storage.credentialsSecretRef says it (HF_TOKEN)",
    "download_dir": "spec.model.cache says it",
    "tensor_parallel_size": "spec.engine.vllm.tensorParallelSize says it",
    "max_model_len": "spec.engine.vllm.maxModelLen says it",
    "seed": "spec.seed says it",
    "load_format": _SAFETENSORS,
    "model_loader_extra_config": _SAFETENSORS,
    "ignore_patterns": _SAFETENSORS,
    "pt_load_map_location": _SAFETENSORS,
    "trust_remote_code": _REMOTE,
    "code_revision": _REMOTE,
    "model_impl": "other implementations than vLLM's own may run a model's own code",
    "hf_overrides": "it replaces parts of the model's configuration, down to its classes; change config.json instead",
    "hf_config_path": "the configuration comes with the model, spec.model.uri",
    "model_class_overrides": _CODE,
    "worker_cls": _CODE,
    "worker_extension_cls": _CODE,
    "scheduler_cls": _CODE,
    "logits_processors": _CODE,
    "kv_transfer_config": _CODE,
    "ec_transfer_config": _CODE,
    "weight_transfer_config": _CODE,
    "io_processor_plugin": _CODE,
    "reasoning_parser_plugin": _CODE,
    "additional_config": _CODE,
    "compilation_config": _CODE,
    "profiler_config": "it opens files and ports of the pod",
    "distributed_executor_backend": "the run chooses it; it may name code to load",
    "runner": _HARNESS,
    "convert": _HARNESS,
    "generation_config": _HARNESS,
    "override_generation_config": f"{_HARNESS}; spec.benchmarks[].generation overrides generation kwargs",
    "logprobs_mode": _HARNESS,
    "speculative_config": _HARNESS,
    "skip_tokenizer_init": _HARNESS,
    "scheduling_policy": _PLATFORM,
    "data_parallel_size": _REPLICAS,
    "data_parallel_size_local": _REPLICAS,
    "data_parallel_rank": _REPLICAS,
    "data_parallel_backend": _REPLICAS,
    "nnodes": "a replica is one pod on one node; spec.engine.vllm.tensorParallelSize says how many GPUs",
    "allowed_local_media_path": "it opens files of the pod to prompts",
    "allowed_media_domains": "a run fetches nothing that a prompt names",
    "disable_log_stats": _PLATFORM,
}
"""The arguments that people ask for, and why each is refused."""

_MOVED = {
    "swap_space": "vLLM has no swap space any more; kv_offloading_size keeps KV cache in host memory",
    "num_scheduler_steps": "vLLM has it no more",
    "use_v2_block_manager": "vLLM has it no more",
    "max_seq_len_to_capture": "vLLM has it no more; see max_cudagraph_capture_size",
    "guided_decoding_backend": "vLLM has it no more",
}
"""Arguments of earlier versions of vLLM."""


def why_refused(name: str) -> str:
    """The reason why an engine argument is not taken, with names to take instead where some are near."""
    near = difflib.get_close_matches(name.replace("-", "_"), EngineArgs.model_fields, n=3, cutoff=0.7)
    suggestion = f"; did you mean {' or '.join(near)}?" if near else ""
    if name in REFUSED:
        return f"this engine argument is refused: {REFUSED[name]}"
    if name in _MOVED:
        return f"unknown engine argument: {_MOVED[name]}"
    if name in OTHERS:
        return f"this engine argument is not on the list of those that a run may set{suggestion or _list()}"
    return f"vLLM {VLLM_VERSION} has no such engine argument{suggestion or _list()}"


def _list() -> str:
    return f"; these may be set: {', '.join(sorted(EngineArgs.model_fields))}"
