"""Selection of the files in a directory, bucket or repository that make up a model. Pure: names in, names out.

Only the top level and ``additional_chat_templates/`` count: other folders (``onnx/``, ``original/``,
``checkpoint-500/``) contain other forms of the model, or something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from evalrun_runner.errors import InputError

CONFIG = "config.json"
WEIGHTS_INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG = "adapter_config.json"
"""Configuration of an adapter of the library PEFT."""
ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""Weights of an adapter of PEFT."""
TEMPLATES = "additional_chat_templates/"
"""Folder in which transformers stores a model's named chat templates."""

WEIGHTS = "*.safetensors"
TOKENIZER = ("tokenizer.json", "tokenizer.model", "*.tiktoken", "spiece.model", "sentencepiece.bpe.model", "vocab.txt")
"""Files of which any one is a tokenizer; so are ``vocab.json`` with ``merges.txt`` and Mistral's ``tekken.json``."""
PATTERNS = (WEIGHTS, "*.json", *TOKENIZER, "tokenizer.model.v*", "merges.txt", "*.jinja")
"""Files that are fetched, digested and checked; no others ever are, in particular no Python and no pickled weights."""

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.h5", "*.msgpack")
"""Weights in formats that can run code when loaded, or that are conversions of the model's own weights."""


def is_model_file(name: str) -> bool:
    """Return whether a file belongs to the model; ``name`` is relative to the model's directory, '/'-separated."""
    if name.startswith(TEMPLATES):
        name = name.removeprefix(TEMPLATES)
        return "/" not in name and not name.startswith(".") and name.endswith(".jinja")
    return "/" not in name and not name.startswith(".") and any(fnmatchcase(name, each) for each in PATTERNS)


def is_weights(name: str) -> bool:
    """Return whether a model file contains weights."""
    return fnmatchcase(name, WEIGHTS)


def is_adapter(names: Iterable[str]) -> bool:
    """Return whether files are those of an adapter (PEFT), without the weights of a model beside them."""
    present = set(names)
    return ADAPTER_CONFIG in present and all(
        name.startswith("adapter_") for name in present if "/" not in name and is_weights(name)
    )


def model_files(names: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the files of the model among ``names``, sorted.

    Args:
        names: Names at the model's location. Names with a trailing slash are folders, used in error messages only.
        where: The location, for error messages.

    Raises:
        InputError: The location has no configuration, no tokenizer, or no weights in safetensors.
    """
    present = frozenset(names)
    chosen = tuple(sorted(name for name in present if is_model_file(name)))
    if "model_index.json" in present and CONFIG not in present:
        raise InputError(
            f"{where} is a pipeline of diffusers (model_index.json), which makes images: expected a language model "
            "that writes text."
        )
    if not any(is_weights(name) for name in chosen):
        raise InputError(_no_weights(present, where))
    if "modules.json" in present:
        raise InputError(
            f"{where} is a model of sentence-transformers (modules.json), which makes embeddings: expected a language "
            "model that writes text."
        )
    if CONFIG not in chosen:
        raise InputError(
            f"{where} has no {CONFIG}: a model's directory holds {CONFIG}, *.safetensors and tokenizer files. "
            "Name the directory in which they lie."
        )
    if not _has_tokenizer(chosen):
        raise InputError(
            f"{where} has no tokenizer: expected one of {', '.join(TOKENIZER)}, tekken.json, or vocab.json with "
            "merges.txt. Save the model's tokenizer beside its weights (tokenizer.save_pretrained)."
        )
    return chosen


def _has_tokenizer(names: tuple[str, ...]) -> bool:
    return (
        any(fnmatchcase(name, pattern) for name in names for pattern in TOKENIZER)
        or "tekken.json" in names
        or {"vocab.json", "merges.txt"} <= set(names)
    )


def _no_weights(names: frozenset[str], where: str) -> str:
    if not names:
        return f"{where} holds no files: expected {CONFIG}, *.safetensors and tokenizer files. Check the address."
    plain = sorted(name for name in names if any(fnmatchcase(name.rsplit("/", 1)[-1], each) for each in PICKLED))
    gguf = [name for name in plain if name.endswith(".gguf")]
    if gguf:
        return (
            f"{where} has weights only as {_some(gguf)}: EvalRun loads safetensors only, GGUF is a conversion of a "
            "model's own weights. Name the model that it was made from, or convert it (transformers: "
            f"AutoModelForCausalLM.from_pretrained(directory, gguf_file={gguf[0]!r}).save_pretrained(other), and the "
            "tokenizer likewise) and name that directory."
        )
    if plain:
        return (
            f"{where} has weights only as {_some(plain)}: EvalRun loads safetensors only, because such files can run "
            "code when they are loaded. Convert the model (transformers: model.save_pretrained(directory, "
            "safe_serialization=True)) and name that directory."
        )
    if WEIGHTS_INDEX in names:
        return (
            f"{where} is incomplete: it holds {WEIGHTS_INDEX}, but none of the files with weights that it names. Copy "
            "or download the model again."
        )
    folders = sorted({name.partition("/")[0] for name in names if "/" in name})
    hint = f" If one of its folders holds the model, name that: {', '.join(folders[:5])}." if folders else ""
    return f"{where} has no *.safetensors. Check the address.{hint}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > len(names[:3]) else "")
