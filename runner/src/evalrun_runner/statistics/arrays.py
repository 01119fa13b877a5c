"""Check arrays of numbers at the door of the room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = Sequence[float] | Sequence[int] | Sequence[bool] | NDArray[np.generic]
"""Numbers as callers have them."""


def vector(numbers: Numbers, what: str = "values") -> FloatArray:
    """Return the numbers as a vector of finite floats.

    Args:
        numbers: shape (n,); may be empty.
        what: their name in an error.

    Raises:
        ValueError: they are no vector, or one of them is nan or infinite.
    """
    array = np.asarray(numbers, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{what} have shape {array.shape}: expected one number per item")
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{what}[{place}] is {array[place]}: expected finite numbers; leave missing items out")
    return array


def to_range(unit: float, bounds: tuple[float, float]) -> float:
    """Return a number of the range from 0 to 1 on the range of the bounds; 1 is exactly the upper bound."""
    lowest, highest = bounds
    return highest if unit >= 1 else lowest + unit * (highest - lowest)
