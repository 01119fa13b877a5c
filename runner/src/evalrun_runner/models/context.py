"""Context length of a model, from its configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from evalrun_runner.models.files import CONFIG

_LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_target_positions", "max_sequence_length", "max_seq_length", "seq_len"),
)
"""Keys from which vLLM takes the context length (``derive_max_model_len_and_key``)."""
_ALREADY_SCALED = frozenset({"su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling"})
"""Kinds of scaling whose factor the length in the configuration contains."""
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
"""Keys of the language model's own part in the configuration of a model with several parts."""


def context_length(directory: Path) -> int | None:
    """Return the largest context, in tokens, that vLLM can give a model by default, or None where that is unknown.

    vLLM's own answer may be smaller (it looks into the weights' architecture and the platform), never larger.
    """
    try:
        config = json.loads((directory / CONFIG).read_bytes())
    except (OSError, ValueError):
        return None
    parts = list(_parts(config)) if isinstance(config, dict) else []
    found = [length for part in parts if (length := _length(part)) is not None]
    return max(found, default=None)


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield config
    for key in _TEXT_PARTS:
        if isinstance(part := config.get(key), dict):
            yield from _parts(part)


def _length(config: Mapping[str, Any]) -> int | None:
    own = config.get("model_max_length")
    lengths = [own] if own else [config.get(key) for key in _LENGTHS]
    numbers = [length for length in lengths if isinstance(length, int | float) and 0 < length < float("inf")]
    return int(min(numbers) * _factor(config)) if numbers else None


def _factor(config: Mapping[str, Any]) -> float:
    factors = [1.0]
    pending = [config.get("rope_scaling"), config.get("rope_parameters")]
    while pending:
        node = pending.pop()
        if not isinstance(node, dict):
            continue
        # A model whose layers differ has a mapping for each kind of layer.
        pending += node.values()
        factor = node.get("factor")
        if isinstance(factor, int | float) and (node.get("rope_type") or node.get("type")) not in _ALREADY_SCALED:
            factors.append(float(factor))
    return max(factors)
