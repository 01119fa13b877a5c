"""Tiny model whose engine answers as fast as Python allows, as a GPU would with a small model.

It shows the runner's own cost, which is invisible on a CPU that spends all its time on matrix products.
"""

from __future__ import annotations

import shutil
from pathlib import Path

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


class ToyMaker:
    """Maker of the model (random weights, tokenizer of ``model``), for a process of its own because it needs torch."""

    def __init__(self, model: Path, folder: Path) -> None:
        import torch
        from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

        real = AutoConfig.from_pretrained(model)
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=real.vocab_size,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=32,
            max_position_embeddings=real.max_position_embeddings,
            bos_token_id=real.bos_token_id,
            eos_token_id=real.eos_token_id,
            tie_word_embeddings=True,
            dtype=torch.float32,
        )
        LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder, safe_serialization=True)
        for name in TOKENIZER_FILES:
            if (model / name).is_file():
                shutil.copy(model / name, folder / name)
