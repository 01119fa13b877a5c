"""Check engine arguments against ``numerics: strict`` and the installed libraries, before a replica is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

from evalrun_api import EngineSpec, Numerics, Reason
from evalrun_api.spec.engine import VllmEngineSpec
from evalrun_runner.errors import InputError

BATCH_INVARIANT_BACKENDS = ("FLASH_ATTN", "TRITON_ATTN", "FLEX_ATTENTION", "FLASH_ATTN_MLA", "TRITON_MLA")
"""Attention backends that have a batch-invariant mode in vLLM 0.32 (``supports_batch_invariance``)."""
LIBRARIES_OF_FORMATS = {
    "fastsafetensors": "fastsafetensors",
    "instanttensor": "instanttensor",
    "runai_streamer": "runai_model_streamer",
    "runai_streamer_sharded": "runai_model_streamer",
}
"""Libraries that vLLM needs for a load format, and imports only when it loads."""


def _is_installed(library: str) -> bool:
    return find_spec(library) is not None


def check_engine_args(engine: EngineSpec, *, on_gpu: bool, is_installed: Callable[[str], bool] = _is_installed) -> None:
    """Refuse engine arguments that contradict ``numerics: strict``, or need a library that is not there.

    Args:
        engine: The run's engine.
        on_gpu: Whether the replicas have GPUs.
        is_installed: Whether a library can be imported; the driver has the replicas' image.

    Raises:
        InputError: It names the argument.
    """
    if engine.vllm is None:
        return
    if engine.numerics is Numerics.STRICT:
        for name, value, expected in _against_strict(engine.vllm, on_gpu=on_gpu):
            raise InputError(
                f"spec.engine.vllm.args.{name}: it is {value}, and with numerics: strict "
                f"{'on GPUs' if on_gpu else 'on CPU'} expected {expected}\n"
                f"hint: leave {name} out, or use numerics: reference",
                reason=Reason.INVALID_SPEC,
            )
    load_format = engine.vllm.args.load_format
    library = LIBRARIES_OF_FORMATS.get(load_format or "")
    if library is not None and not is_installed(library):
        raise InputError(
            f"spec.engine.vllm.args.load_format: {load_format} needs the library {library}, which this installation of "
            "the runner has not\nhint: use safetensors, or an image with that library",
            reason=Reason.ENGINE_ARGUMENTS_INVALID,
        )


def _against_strict(vllm: VllmEngineSpec, *, on_gpu: bool) -> Iterator[tuple[str, object, str]]:
    """Yield arguments that make answers depend on their batch, each with its value and what is expected."""
    args = vllm.args
    if on_gpu:
        if args.attention_backend is not None and args.attention_backend not in BATCH_INVARIANT_BACKENDS:
            yield "attention_backend", args.attention_backend, f"one of {', '.join(BATCH_INVARIANT_BACKENDS)}"
        return
    if args.dtype is not None and args.dtype not in {"float32", "float"}:
        yield "dtype", args.dtype, "float32"
    if args.max_num_seqs is not None and args.max_num_seqs != 1:
        yield "max_num_seqs", args.max_num_seqs, "1: on CPU only a batch of one never changes"
    if args.enable_prefix_caching:
        yield "enable_prefix_caching", "true", "false: a cached prefix is computed in another shape"
