"""Exact JSON codec for the values of lm-eval's filters and metrics: decoding restores values and types.

None, bool, int, finite float, str, list and dicts with text keys are plain JSON. Everything else is an object with the
key ``$``: tuple, set, frozenset, bytes, complex, float (nan, inf, -inf), numpy scalars with their dtype, numpy arrays
(their bytes in base64) and dicts with other keys. Aggregations depend on these types: ``mean`` of numpy floats is a
numpy float, and ``f1`` unzips tuples.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np

TAG = "$"


def encode(value: object) -> str:
    """Encode a value as JSON text (ASCII only, so that lone surrogates survive).

    Raises:
        TypeError: Part of the value has no exact form; the message names its type and location.
    """
    return json.dumps(_pack(value, "value"), allow_nan=False, separators=(",", ":"))


def decode(text: str) -> Any:
    """Decode the value that was given to ``encode``.

    Raises:
        ValueError: ``encode`` did not write this text.
    """
    return _unpack(json.loads(text))


def _pack(value: object, place: str) -> object:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": str(value)}  # type: ignore[arg-type]  # a float
    if isinstance(value, list) and kind is list:
        return [_pack(entry, f"{place}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, dict) and kind is dict:
        return _pack_dict(value, place)
    if isinstance(value, np.generic | np.ndarray):
        return _pack_numpy(value, place)
    return _pack_other(value, place)


def _pack_dict(value: dict[Any, Any], place: str) -> object:
    if TAG not in value and all(type(key) is str for key in value):
        return {key: _pack(entry, f"{place}.{key}") for key, entry in value.items()}
    pairs = [[_pack(key, f"{place} key"), _pack(entry, f"{place}[{key!r}]")] for key, entry in value.items()]
    return {TAG: "dict", "v": pairs}


def _pack_numpy(value: np.generic | np.ndarray[Any, Any], place: str) -> object:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            entries = [_pack(entry, f"{place}[{i}]") for i, entry in enumerate(value.ravel().tolist())]
            return {TAG: "objects", "shape": list(value.shape), "v": entries}
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {TAG: "array", "t": value.dtype.str, "shape": list(value.shape), "v": data}
    # Integers, booleans, text and floats up to 64 bits have exact, human-readable Python equivalents.
    match value.dtype.kind:
        case "b" | "i" | "u" | "U":
            return {TAG: "numpy", "t": value.dtype.str, "v": value.item()}
        case "f" if value.dtype.itemsize <= np.dtype(np.float64).itemsize:
            return {TAG: "numpy", "t": value.dtype.str, "v": _pack(float(value), place)}
    raise TypeError(f"{place} is a numpy {value.dtype}, which has no exact JSON form")


def _pack_other(value: object, place: str) -> object:
    kind = type(value)
    if isinstance(value, tuple) and kind is tuple:
        return {TAG: "tuple", "v": [_pack(entry, f"{place}[{i}]") for i, entry in enumerate(value)]}
    if isinstance(value, set | frozenset) and kind in (set, frozenset):
        entries = [_pack(entry, f"{place} entry") for entry in value]
        return {TAG: kind.__name__, "v": sorted(entries, key=lambda entry: json.dumps(entry, sort_keys=True))}
    if kind is bytes:
        return {TAG: "bytes", "v": base64.b64encode(value).decode()}  # type: ignore[arg-type]  # bytes, by its kind
    if isinstance(value, complex) and kind is complex:
        return {TAG: "complex", "v": [_pack(value.real, place), _pack(value.imag, place)]}
    raise TypeError(f"{place} is a {kind.__module__}.{kind.__qualname__}, which has no exact JSON form")


def _unpack(packed: Any) -> Any:
    if isinstance(packed, list):
        return [_unpack(entry) for entry in packed]
    if not isinstance(packed, dict):
        return packed
    if TAG not in packed:
        return {key: _unpack(entry) for key, entry in packed.items()}
    return _unpack_tagged(packed)


def _unpack_tagged(packed: dict[str, Any]) -> Any:
    body = packed["v"]
    match packed[TAG]:
        case "float":
            return float(body)
        case "tuple":
            return tuple(_unpack(entry) for entry in body)
        case "set":
            return {_unpack(entry) for entry in body}
        case "frozenset":
            return frozenset(_unpack(entry) for entry in body)
        case "dict":
            return {_unpack(key): _unpack(entry) for key, entry in body}
        case "bytes":
            return base64.b64decode(body)
        case "complex":
            return complex(_unpack(body[0]), _unpack(body[1]))
        case "numpy":
            return np.dtype(packed["t"]).type(_unpack(body))
        case "array":
            return np.frombuffer(base64.b64decode(body), dtype=packed["t"]).reshape(packed["shape"]).copy()
        case "objects":
            array = np.empty(math.prod(packed["shape"]), dtype=object)
            for i, entry in enumerate(body):
                array[i] = _unpack(entry)
            return array.reshape(packed["shape"])
    raise ValueError(f"a value of the unknown kind {packed[TAG]!r}: written by a newer version?")
