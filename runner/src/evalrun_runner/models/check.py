"""Integrity checks of a model's files, made before an engine spends minutes on loading them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from evalrun_runner.errors import InputError
from evalrun_runner.models.files import CONFIG, WEIGHTS_INDEX, is_weights

_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 100_000_000
"""Maximum size of a header in bytes, the limit of the safetensors library itself."""
_LFS_POINTER = b"version https://git-lfs"
_AGAIN = "Copy or download it again."


def check_settings(directory: Path) -> None:
    """Check that the configurations of model and tokenizer are readable.

    A configuration may refer to the model's own code (``auto_map``), as many models do that vLLM supports natively.
    That code is never downloaded or run (``trust_remote_code`` is false); vLLM refuses a model that depends on it.

    Raises:
        InputError: A file is damaged.
    """
    for name in (CONFIG, "tokenizer_config.json"):
        path = directory / name
        if path.exists():
            _json_object(path)


def check_shards(directory: Path, names: Iterable[str], where: str) -> None:
    """Check that ``names`` includes every shard that the index in ``directory`` lists.

    Raises:
        InputError: Shards are missing; the message names them.
    """
    index = directory / WEIGHTS_INDEX
    if not index.exists():
        return
    missing = sorted(_shards(index) - set(names))
    if missing:
        raise InputError(
            f"{where} is incomplete: {WEIGHTS_INDEX} names {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if len(missing) > len(missing[:3]) else ''}, which "
            f"{'is' if len(missing) == 1 else 'are'} not there. Copy or download the model again."
        )


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
