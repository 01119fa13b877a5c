"""What a suite of the user's own may not hold: code, and data from outside its folder."""

from __future__ import annotations

from pathlib import Path

from evalrun_runner.errors import InputError


def check_suite(folder: Path, *, allow_code: bool) -> None:
    """Refuse a suite that holds code, by file, line and key, before lm-eval reads any of it. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"the suite {folder} is no folder")
