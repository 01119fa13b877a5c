"""Checks of loaded benchmarks that need no engine: pure functions over leaf tasks, listed by ``driver/checks.py``."""
