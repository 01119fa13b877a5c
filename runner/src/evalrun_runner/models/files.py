"""Selection of the files in a directory, bucket or repository that make up a model. Pure: names in, names out.

Only the top level and ``additional_chat_templates/`` count: other folders (``onnx/``, ``original/``,
``checkpoint-500/``) contain other forms of the model, or something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from evalrun_runner.errors import InputError

CONFIG = "config.json"
WEIGHTS_INDEX = "model.safetensors.index.json"
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
    if not any(is_weights(name) for name in chosen):
        raise InputError(_no_weights(present, where))
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
    pickled = sorted(name for name in names if any(fnmatchcase(name.rsplit("/", 1)[-1], each) for each in PICKLED))
    if pickled:
        return (
            f"{where} has weights only as {', '.join(pickled[:3])}{', …' if len(pickled) > len(pickled[:3]) else ''}: "
            "EvalRun loads safetensors only, because such files can run code or lose precision. Convert the model "
            "(transformers: model.save_pretrained(directory, safe_serialization=True)) and name that directory."
        )
    folders = sorted({name.partition("/")[0] for name in names if "/" in name})
    hint = f" If one of its folders holds the model, name that: {', '.join(folders[:5])}." if folders else ""
    return f"{where} has no *.safetensors. Check the address.{hint}"
