"""Check what an adapter's configuration and the header of its weights say, against PEFT's layout and the base."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalrun_runner.errors import InputError, listed
from evalrun_runner.models.check import check_safetensors
from evalrun_runner.models.files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, CONFIG

NOT_SCORED = ("lm_head", "embed_tokens")
"""Modules with which vLLM 0.32 cannot score the tokens of a prompt."""
MAX_RANK = 512
"""Highest rank that vLLM allocates."""
_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")
_MERGE = "hint: merge it into its base, and evaluate the merged model"
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Initial values that leave the base as it is, so that a saved adapter is a plain LoRA."""


@dataclass(frozen=True, slots=True)
class AdapterShape:
    """What an adapter changes."""

    rank: int
    """Highest rank of its matrices."""
    modules: Mapping[str, tuple[int, int]]
    """(outputs, inputs) of each module that it changes, by the module's name."""
    base: str | None
    """Name of its base, as its configuration has it."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Kinds of modules, sorted: ``q_proj``."""
        return tuple(sorted({module.rpartition(".")[2] for module in self.modules}))


def check_adapter(directory: Path, where: str) -> AdapterShape:
    """Check an adapter's two files, and return what it changes.

    Raises:
        InputError: A file is damaged, the adapter is of a kind that vLLM does not run, or it has no effect.
    """
    settings = _json_object(directory / ADAPTER_CONFIG, where)
    _check_kind(settings, where)
    weights = directory / ADAPTER_WEIGHTS
    check_safetensors(weights)
    tensors = dict(_tensors(weights))
    shapes = _pairs({name: shape for name, (shape, _) in tensors.items()}, where)
    ranks = {module: sides["A"][0] for module, sides in shapes.items()}
    rank = max(ranks.values())
    declared = _declared_ranks(settings, where)
    if rank > max(declared):
        raise InputError(
            f"{where}: {ADAPTER_WEIGHTS} has a matrix of rank {rank}, and {ADAPTER_CONFIG} declares r {max(declared)}; "
            "expected files of one adapter\nhint: copy both again"
        )
    if rank > MAX_RANK:
        raise InputError(f"{where}: its rank is {rank}; expected at most {MAX_RANK}, vLLM's highest\n{_MERGE}")
    ends = [module for module in shapes if module.rpartition(".")[2] in NOT_SCORED]
    if ends:
        raise InputError(
            f"{where}: it changes {listed(sorted(ends), 3)}; expected an adapter of inner layers: vLLM computes no "
            f"log-probabilities of prompts with others\n{_MERGE}"
        )
    outputs = [span for name, (_, span) in tensors.items() if name.endswith(".lora_B.weight")]
    if not _any_nonzero(weights, outputs):
        raise InputError(
            f"{where}: AdapterHasNoEffect: all its lora_B matrices are zero, as before the first step of training; "
            "expected a trained adapter\nhint: name the folder of the checkpoint that was trained"
        )
    modules = {module: (sides["B"][0], sides["A"][1]) for module, sides in shapes.items()}
    base = settings.get("base_model_name_or_path")
    return AdapterShape(rank, modules, base if isinstance(base, str) and base else None)


def check_fits(shape: AdapterShape, base: Path, where: str) -> None:
    """Check an adapter's layers and sizes against the configuration of its base.

    Only what a llama-like configuration tells is compared; the engine compares the rest when it loads the adapter.

    Raises:
        InputError: The adapter is one of another model.
    """
    config = _json_object(base / CONFIG, where)
    text = config.get("text_config")
    config = text if isinstance(text, dict) else config
    hidden, inner, layers = (config.get(key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    expected: dict[str, tuple[object, object]] = {
        **dict.fromkeys(("q_proj", "k_proj", "v_proj"), (None, hidden)),
        "o_proj": (hidden, None),
        **({"down_proj": (hidden, inner)} if "num_experts" not in config and "num_local_experts" not in config else {}),
    }
    for module, (outputs, inputs) in shape.modules.items():
        layer = _LAYER.search(module)
        if layer is not None and isinstance(layers, int) and int(layer[1]) >= layers:
            raise _other(where, f"it changes {module}, and the model has {layers} layers", shape)
        for number, wanted, what in zip(
            (outputs, inputs), expected.get(module.rpartition(".")[2], (None, None)), ("outputs", "inputs"), strict=True
        ):
            if isinstance(wanted, int) and number != wanted:
                raise _other(where, f"{module} has {number} {what} in it, and {wanted} in the model", shape)


def _other(where: str, what: str, shape: AdapterShape) -> InputError:
    named = "" if shape.base is None else f"; its configuration names {shape.base[:200]!r} as its base"
    return InputError(
        f"{where}: it is an adapter of another model: {what}{named}\nhint: set spec.model.uri to the base that it was "
        "trained on"
    )


def _check_kind(settings: Mapping[str, Any], where: str) -> None:
    for what in _not_run(settings):
        raise InputError(f"{where}: {ADAPTER_CONFIG}: {what}; expected a plain LoRA adapter, which vLLM runs\n{_MERGE}")


def _not_run(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what of a configuration vLLM does not run as PEFT does."""
    kind = settings.get("peft_type", "LORA")
    if str(kind).upper() != "LORA":
        yield f"its peft_type is {str(kind)[:40]!r}"
    for name in ("use_dora", "lora_bias", "use_qalora"):
        if settings.get(name):
            yield f"{name} is set"
    for name in ("modules_to_save", "alora_invocation_tokens", "layer_replication", "use_bdlora"):
        if settings.get(name):
            yield f"{name} is {str(settings[name])[:80]}"
    if settings.get("bias", "none") != "none":
        yield f"bias is {str(settings['bias'])[:40]!r}"
    initial = settings.get("init_lora_weights", True)
    if isinstance(initial, str) and initial.lower() not in _PLAIN_INITS:
        yield f"init_lora_weights is {initial[:40]!r}, which changes the base's own weights"


def _declared_ranks(settings: Mapping[str, Any], where: str) -> list[int]:
    pattern = settings.get("rank_pattern") or {}
    ranks = [settings.get("r"), *(pattern.values() if isinstance(pattern, dict) else [pattern])]
    for rank in ranks:
        if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
            raise InputError(f"{where}: {ADAPTER_CONFIG}: a rank is {rank!r}; expected a whole number, 1 or more")
    return [rank for rank in ranks if isinstance(rank, int)]


def _pairs(shapes: Mapping[str, tuple[int, ...]], where: str) -> dict[str, dict[str, tuple[int, int]]]:
    """Sort tensors into pairs of A (rank, inputs) and B (outputs, rank), by module."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    strange = []
    for name, shape in shapes.items():
        match = _TENSOR.fullmatch(name)
        if match is None or len(shape) != 2 or 0 in shape:
            strange.append(name)
            continue
        found.setdefault(match["module"], {})[match["side"]] = (shape[0], shape[1])
    if strange:
        raise InputError(
            f"{where}: {ADAPTER_WEIGHTS} has {listed(sorted(strange), 3)}; expected matrices named "
            f"base_model.model.MODULE.lora_A.weight and lora_B.weight only\n{_MERGE}"
        )
    wrong = [module for module, sides in found.items() if len(sides) < 2 or sides["A"][0] != sides["B"][1]]
    if wrong or not found:
        what = f"no pair of lora_A and lora_B of one rank for {listed(sorted(wrong), 3)}" if wrong else "no matrices"
        raise InputError(f"{where}: {ADAPTER_WEIGHTS} has {what}; expected one for each module\nhint: copy it again")
    return found


def _tensors(path: Path) -> Iterator[tuple[str, tuple[tuple[int, ...], tuple[int, int]]]]:
    """Yield each tensor's name with its shape and the span of its bytes in the file, which was found sound."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield name, (tuple(map(int, entry["shape"])), (8 + length + start, 8 + length + end))


def _any_nonzero(path: Path, spans: list[tuple[int, int]]) -> bool:
    """Return whether any byte in the spans is not zero; zero bytes are the number zero in every type of floats."""
    with path.open("rb") as file:
        for start, end in spans:
            file.seek(start)
            if any(file.read(end - start)):
                return True
    return False


def _json_object(path: Path, where: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{where}: {path.name} is no JSON ({error}); expected the file as it was saved") from error
    if not isinstance(content, dict):
        raise InputError(f"{where}: {path.name} holds no mapping; expected the file as it was saved")
    return content
