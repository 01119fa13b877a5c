"""The one error of this library: what was wanted, what was found, and what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """The test cluster cannot do what was asked of it; the message says why and what to do."""
