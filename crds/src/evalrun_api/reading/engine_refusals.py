"""Reasons why engine arguments are refused, for the person who set one."""

from __future__ import annotations

import difflib

from evalrun_api.spec.engine_args import OTHERS, VLLM_VERSION, EngineArgs

_CODE = "it names code to load, and runs load no code"
_SAFETENSORS = "models are loaded from safetensors only"
_REMOTE = "code of a model is never executed"
_HARNESS = "it changes what is scored; EvalRun sets it, so that scores are comparable"
_REPLICAS = "spec.replicas.count sets the number of independent engines"
_PLATFORM = "EvalRun sets it"

REFUSED: dict[str, str] = {
    "model": "set spec.model.uri instead",
    "model_weights": "set spec.model.uri instead",
    "served_model_name": "set spec.model.name instead",
    "revision": "set spec.model.revision instead",
    "tokenizer": "the tokenizer comes with the model, spec.model.uri",
    "tokenizer_revision": "the tokenizer comes with the model, spec.model.revision",
    "hf_token": "set spec.model.storage.credentialsSecretRef instead (HF_TOKEN)",
    "download_dir": "set spec.model.cache instead",
    "tensor_parallel_size": "set spec.engine.vllm.tensorParallelSize instead",
    "max_model_len": "set spec.engine.vllm.maxModelLen instead",
    "seed": "set spec.seed instead",
    "model_loader_extra_config": _SAFETENSORS,
    "ignore_patterns": _SAFETENSORS,
    "pt_load_map_location": _SAFETENSORS,
    "trust_remote_code": _REMOTE,
    "code_revision": _REMOTE,
    "model_impl": "implementations other than vLLM's own may execute code of the model",
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
    "profiler_config": "it opens files and ports in the pod",
    "distributed_executor_backend": "EvalRun sets it; it may name code to load",
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
    "nnodes": "a replica is one pod on one node; tensorParallelSize and args.pipeline_parallel_size set its GPUs",
    "allowed_local_media_path": "it gives prompts access to files of the pod",
    "allowed_media_domains": "runs never fetch what a prompt names",
    "disable_log_stats": _PLATFORM,
}
"""Arguments that people ask for, and the reason why each one is refused."""

REFUSED_VALUES: dict[str, dict[str, str]] = {
    "load_format": {
        **dict.fromkeys(("pt", "npcache"), "it reads pickles, which can hold code; expected weights in safetensors"),
        **dict.fromkeys(("auto", "hf"), "it falls back to pickles where there are no safetensors; expected one format"),
        "dummy": "it makes the weights up, and scores of those say nothing of a model",
        "gguf": "it reads GGUF, and models are loaded from safetensors only",
        "bitsandbytes": "models are loaded from safetensors; quantization says how they are quantized",
        "tensorizer": "it reads a format of its own, and models are loaded from safetensors only",
        **dict.fromkeys(
            ("modelexpress", "ipc_cache"), "it takes weights from another process, which no digest of files verifies"
        ),
    },
}
"""Values of allowed arguments that people ask for, and the reason why each one is refused."""

_MOVED = {
    "swap_space": "vLLM removed swap space; kv_offloading_size keeps KV cache in host memory",
    "num_scheduler_steps": "vLLM removed it",
    "use_v2_block_manager": "vLLM removed it",
    "max_seq_len_to_capture": "vLLM removed it; see max_cudagraph_capture_size",
    "guided_decoding_backend": "vLLM removed it",
}
"""Arguments of earlier versions of vLLM."""


def why_value_refused(name: str, value: object) -> str | None:
    """Return the reason why a value of an allowed engine argument is refused; None where there is none to tell."""
    return REFUSED_VALUES.get(name, {}).get(value) if isinstance(value, str) else None


def why_refused(name: str) -> str:
    """Return the reason why an engine argument is refused, with similar names to use instead."""
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
