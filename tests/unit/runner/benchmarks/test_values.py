"""The codec: what is decoded is what was encoded, types included."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalrun_runner.benchmarks.values import decode, encode

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.floats(allow_nan=False).map(np.float64),
    st.floats(width=32, allow_nan=False).map(np.float32),
    st.integers(-(2**63), 2**63 - 1).map(np.int64),
    st.booleans().map(np.bool_),
)
hashable = st.one_of(st.integers(), st.text(), st.tuples(st.integers(), st.text()))
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashable, inner, max_size=4),
        st.sets(hashable, max_size=4),
        st.frozensets(hashable, max_size=4),
    ),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and in every type inside."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(anything)
def test_round_trip(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(anything)
def test_the_text_is_strict_ascii_json(value: Any) -> None:
    text = encode(value)

    assert text.isascii()
    json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.parametrize("value", [math.inf, -math.inf, np.float64("inf"), np.float32("-inf")])
def test_infinities(value: Any) -> None:
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize("value", [math.nan, np.float64("nan")])
def test_not_a_number(value: Any) -> None:
    decoded = decode(encode(value))

    assert type(decoded) is type(value)
    assert math.isnan(decoded)


@pytest.mark.parametrize(
    "value",
    [
        np.array([[0.1, 0.7], [0.2, 0.3]]),
        np.array([], dtype=np.float32),
        np.array(["yes", "no"]),
        np.arange(6).reshape(2, 3)[:, ::2],
        np.array([None, "a", 1.5], dtype=object),
    ],
)
def test_arrays(value: np.ndarray[Any, Any]) -> None:
    decoded = decode(encode(value))

    assert decoded.dtype == value.dtype
    assert decoded.tolist() == value.tolist()
    assert decoded.shape == value.shape


@pytest.mark.parametrize(
    "value", [np.str_("text"), np.str_(""), complex(1, -2), "lone \ud800 surrogate", {"$": "tuple"}]
)
def test_curiosities(value: Any) -> None:
    assert same(decode(encode(value)), value)


def test_equal_sets_have_one_text() -> None:
    assert encode({"b", "a", "c"}) == encode({"c", "b", "a"})


def test_a_value_without_an_exact_form_is_reported_with_its_location() -> None:
    with pytest.raises(TypeError, match=r"value\.none\[1\] is a builtins\.object"):
        encode({"none": [1, object()]})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind 'gadget'"):
        decode('{"$": "gadget", "v": 1}')
