"""The single error of this library: what was expected, what was found, and what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """Failure of the test cluster; the message says why and what to do."""
