"""Integrity checks of a model's files, made before an engine spends minutes on loading them."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalrun_runner.errors import InputError, listed
from evalrun_runner.models.files import CONFIG, WEIGHTS_INDEX, is_weights

_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 100_000_000
"""Maximum size of a header in bytes, the limit of the safetensors library itself."""
_LFS_POINTER = b"version https://git-lfs"
NO_TEXT = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
"""Endings of transformers' architectures that label text and write none."""
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d+)-of-(?P<total>\d+)(?P<ending>\.safetensors)")
MAX_SHARDS = 10_000
"""Number of shards up to which a name such as ``model-00001-of-00003.safetensors`` is taken at its word."""
NO_BASE = "not named in it"
"""Said of an adapter whose configuration does not name its base."""
_AGAIN = "Copy or download it again."


def check_settings(directory: Path) -> None:
    """Check that the configurations of model and tokenizer are readable, and that the model can write text.

    A configuration may refer to the model's own code (``auto_map``), as many models do that vLLM supports natively.
    That code is never downloaded or run (``trust_remote_code`` is false); vLLM refuses a model that depends on it.

    Raises:
        InputError: A file is damaged, or the model is not a language model.
    """
    if (directory / "tokenizer_config.json").exists():
        _json_object(directory / "tokenizer_config.json")
    if not (directory / CONFIG).exists():
        return
    architectures = _json_object(directory / CONFIG).get("architectures")
    if isinstance(architectures, list) and architectures and all(_is_head(name) for name in architectures):
        raise InputError(
            f"{directory / CONFIG}: its architecture is {', '.join(map(str, architectures))[:200]}, which writes no "
            "text; expected a language model, such as one ending in ForCausalLM."
        )


def adapter_error(where: str, config: bytes | None) -> InputError:
    """Return the error for an adapter where a model was expected.

    Args:
        where: The location, for messages.
        config: Content of its adapter_config.json, None if it could not be read.
    """
    try:
        settings = json.loads(config or b"{}")
        base, kind = str(settings["base_model_name_or_path"] or NO_BASE), str(settings.get("peft_type") or "LORA")
    except (ValueError, KeyError, TypeError):
        base, kind = NO_BASE, "LORA"
    name = "a LoRA adapter" if kind.upper() == "LORA" else f"an adapter of the kind {kind[:40]} (PEFT)"
    return InputError(
        f"{where}: this is {name} (base: {base[:200]}), and a whole model was expected; merge it (peft: "
        "AutoPeftModelForCausalLM.from_pretrained(adapter).merge_and_unload().save_pretrained(merged), and the "
        "tokenizer likewise) and give the merged folder"
    )


def _is_head(architecture: object) -> bool:
    return str(architecture).endswith(NO_TEXT)


def check_shards(directory: Path, names: Iterable[str], where: str) -> None:
    """Check that ``names`` includes every shard: of the index in ``directory``, or without one as the names count them.

    Raises:
        InputError: Shards are missing; the message names them.
    """
    index, present = directory / WEIGHTS_INDEX, set(names)
    if index.exists():
        source, missing = f"{WEIGHTS_INDEX} names", sorted(_shards(index) - present)
    else:
        source, missing = "by the numbers in their names there are also", sorted(_counted(present) - present)
    if missing:
        raise InputError(
            f"{where} is incomplete: {source} {listed(missing, 3)}, which "
            f"{'is' if len(missing) == 1 else 'are'} not there. Copy or download the model again."
        )


def _counted(names: Iterable[str]) -> set[str]:
    """Return the names of all shards of which one is there: each tells its number and how many there are."""
    expected: set[str] = set()
    for name in names:
        if (shard := _SHARD.fullmatch(name)) and 0 < (total := int(shard["total"])) <= MAX_SHARDS:
            digits = len(shard["number"])
            expected.update(
                f"{shard['stem']}-{number:0{digits}}-of-{shard['total']}{shard['ending']}"
                for number in range(1, total + 1)
            )
    return expected


def check_weights(directory: Path, names: Iterable[str], where: str) -> None:
    """Check that every shard in the index exists, and that no safetensors file is truncated.

    Raises:
        InputError: A file is missing or damaged; the message names it.
    """
    present = sorted(name for name in names if is_weights(name))
    check_shards(directory, present, where)
    for name in present:
        check_safetensors(directory / name)


def check_safetensors(path: Path) -> None:
    """Compare a safetensors file's size with its header: 8 bytes of length, JSON, then the tensors without gaps.

    Raises:
        InputError: The file is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
        if start == _LFS_POINTER:
            raise InputError(f"{path} is a Git LFS pointer, not the weights themselves. Run git lfs pull there.")
        if len(start) < _LENGTH.size:
            raise _damaged(path, f"{size} bytes are too few for a header")
        (length,) = _LENGTH.unpack(start[: _LENGTH.size])
        if length > min(_MAX_HEADER, size - _LENGTH.size):
            raise _damaged(path, f"the header is said to have {length:,} bytes, the file has {size:,}")
        file.seek(_LENGTH.size)
        header = file.read(length)
    data = _end_of_data(path, header)
    expected = _LENGTH.size + length + data
    if size != expected:
        raise _damaged(path, f"it has {size:,} bytes, its header says {expected:,}")


def _end_of_data(path: Path, header: bytes) -> int:
    try:
        content = json.loads(header)
        offsets = [entry["data_offsets"] for name, entry in content.items() if name != "__metadata__"]
        spans = sorted((int(start), int(end)) for start, end in offsets)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, f"the header cannot be read ({error})") from error
    position = 0
    for start, end in spans:
        if start != position or end < start:
            raise _damaged(path, f"the header has a tensor at bytes {start:,} to {end:,}, expected at {position:,}")
        position = end
    return position


def _shards(index: Path) -> set[str]:
    weight_map = _json_object(index).get("weight_map")
    if not isinstance(weight_map, Mapping):
        raise _damaged(index, "weight_map is missing")
    return {str(shard) for shard in weight_map.values()}


def _json_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise _damaged(path, f"it is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise _damaged(path, "it is not a JSON object")
    return content


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged: {why}. {_AGAIN}")
