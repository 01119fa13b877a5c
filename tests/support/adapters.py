"""Random LoRA adapters in PEFT's layout, and the same as merged weights, made with numpy and safetensors alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def weight_shapes(model: Path) -> dict[str, tuple[int, int]]:
    """Return the shapes of a llama's matrices that adapters may target, by the name of their module."""
    config = json.loads((model / "config.json").read_text())
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
    shapes = {
        **{"self_attn.q_proj": (queries, hidden), "self_attn.k_proj": (keys, hidden)},
        **{"self_attn.v_proj": (keys, hidden), "self_attn.o_proj": (hidden, queries)},
        **{"mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)},
    }
    layers = range(config["num_hidden_layers"])
    return {f"model.layers.{layer}.{name}": shape for layer in layers for name, shape in shapes.items()}


def write_adapter(
    directory: Path,
    model: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    targets: Sequence[str] = TARGETS,
    scale: float = 0.05,
    config: dict[str, Any] | None = None,
) -> Path:
    """Write a random adapter of a model; a scale of 0 makes one without effect, as PEFT initializes it."""
    from safetensors.numpy import save_file

    generator = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    for module, (rows, columns) in weight_shapes(model).items():
        if module.rpartition(".")[2] in targets:
            place = f"base_model.model.{module}"
            tensors[f"{place}.lora_A.weight"] = generator.normal(0, 0.2, (rank, columns)).astype(np.float32)
            tensors[f"{place}.lora_B.weight"] = generator.normal(0, scale, (rows, rank)).astype(np.float32)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / "adapter_model.safetensors")
    settings = {
        **{"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(targets)},
        **{"base_model_name_or_path": str(model), "task_type": "CAUSAL_LM"},
        **(config or {}),
    }
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    return directory


def write_merged(directory: Path, model: Path, adapter: Path) -> Path:
    """Write the model with an adapter's matrices added to its own, in float32."""
    import torch
    from safetensors.torch import load_file, save_file

    settings = json.loads((adapter / "adapter_config.json").read_text())
    deltas = load_file(adapter / "adapter_model.safetensors")
    shutil.copytree(model, directory, ignore=shutil.ignore_patterns("*.safetensors"))
    weights = {name: tensor.to(torch.float32) for name, tensor in load_file(model / "model.safetensors").items()}
    for name, low in deltas.items():
        if name.endswith(".lora_A.weight"):
            place = name.removesuffix(".lora_A.weight")
            update = deltas[f"{place}.lora_B.weight"] @ low * (settings["lora_alpha"] / settings["r"])
            weights[place.removeprefix("base_model.model.") + ".weight"] += update
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory
