"""For all tests."""

from __future__ import annotations

from hypothesis import settings

# How long one example takes says more of what else the machine does.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
