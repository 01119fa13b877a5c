"""The command line ``evalrun``."""

from evalrun_runner.cli.main import main

__all__ = ["main"]
