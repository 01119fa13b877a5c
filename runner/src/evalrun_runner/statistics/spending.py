"""Levels of the looks of a group-sequential test: what each look may spend of an error.

A test that is looked at several times errs more often than once. Here look k of K spends the part of the error alpha
that the function of Lan and DeMets of O'Brien and Fleming's type allows until the share t of the items,

    spent(t) = 2 - 2 * Phi(z(1 - alpha/2) / sqrt(t)),

so that hardly anything is spent early: a run stops at its first look for a very clear effect only, and its last look
decides almost as if it were the only one. `look_levels` turns this into a nominal one-sided level of each look: a test
of any kind at these levels errs with alpha at most over all looks, as far as its statistic grows like a sum of
independent items. With one-sided alpha = 0.025 and five equal looks the boundaries are 4.877, 3.357, 2.680, 2.290 and
2.031.

Sources: Lan and DeMets, Biometrika 70 (1983) 659; Armitage, McPherson and Rowe, JRSS A 132 (1969) 235; repeated
confidence intervals: Jennison and Turnbull, JRSS B 51 (1989) 305.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

_LOWEST, _GRID = -8.0, 2001
"""Standard deviations below which the sum is not followed, and points of the grid that is integrated over."""
_HIGHEST = 12.0
"""Greatest boundary in standard deviations: what a look may spend before it is less than 1e-32."""


def spent(level: float, share: float) -> float:
    """Return the part of an error that is spent until a share of the items.

    Args:
        level: The one-sided error over all looks, above 0 and below 1.
        share: Share of the items, above 0 and at most 1.
    """
    return float(2 * ndtr(ndtri(level / 2) / math.sqrt(share)))


def look_boundaries(level: float, shares: Sequence[float]) -> tuple[float, ...]:
    """Return the boundary of each look, in standard deviations of the statistic.

    Args:
        level: The one-sided error over all looks.
        shares: Share of the items at each look, rising, the last one at most 1.

    Raises:
        ValueError: The level is no error, or the shares do not rise from above 0 to at most 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, not {level}")
    if not shares or any(b <= a for a, b in zip([0.0, *shares], shares, strict=False)) or shares[-1] > 1 + 1e-12:
        raise ValueError(f"shares of looks rise from above 0 to at most 1, not {list(shares)}")
    return _boundaries(level, tuple(shares))


def look_levels(level: float, shares: Sequence[float]) -> tuple[float, ...]:
    """Return the nominal one-sided level of each look; arguments as for `look_boundaries`."""
    return tuple(float(ndtr(-bound)) for bound in look_boundaries(level, shares))


@cache
def _boundaries(level: float, shares: tuple[float, ...]) -> tuple[float, ...]:
    """Follow the density of the sum, at share t a normal one with variance t, as long as it is below each boundary."""
    found = [float(-ndtri(spent(level, shares[0])))]
    grid = np.linspace(_LOWEST, min(found[0], _HIGHEST), _GRID) * math.sqrt(shares[0])
    density = np.exp(-(grid**2) / (2 * shares[0])) / math.sqrt(2 * math.pi * shares[0])
    for before, share in pairwise(shares):
        step = math.sqrt(share - before)
        # Simpson's rule.
        weights = np.full(_GRID, 2.0)
        weights[1:-1:2], weights[[0, -1]] = 4.0, 1.0
        mass = density * weights * (grid[1] - grid[0]) / 3
        now = spent(level, share) - spent(level, before)
        root = math.sqrt(share)

        bound = _root(mass, grid, step, now, (-6 * root, _HIGHEST * root))
        found.append(bound / root)
        points = np.linspace(_LOWEST * root, bound, _GRID)
        kernel = np.exp(-((points[:, None] - grid[None, :]) ** 2) / (2 * step**2)) / (step * math.sqrt(2 * math.pi))
        grid, density = points, kernel @ mass
    return tuple(found)


def _root(
    mass: NDArray[np.float64], grid: NDArray[np.float64], step: float, spend: float, within: tuple[float, float]
) -> float:
    """Return the boundary beyond which the next step carries as much of the sum as may be spent."""

    def excess(bound: float) -> float:
        return float(mass @ ndtr((grid - bound) / step)) - spend

    return within[1] if excess(within[1]) >= 0 else float(brentq(excess, *within, xtol=1e-10))
