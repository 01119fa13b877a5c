"""The command line ``evalrun``."""

from evalrun_runner.cli.app import main

__all__ = ["main"]
