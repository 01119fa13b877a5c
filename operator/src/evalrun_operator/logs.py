"""Log lines: one line each, whatever is in them, to standard error."""

from __future__ import annotations

import logging
import sys


class OneLine(logging.Formatter):
    """Line ends become two characters, so that a line is a record: what users write cannot look like one of ours."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


def set_up(level: str = "INFO") -> None:
    """For the whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It tells each event that it hands on.
    logging.getLogger("kopf").setLevel(logging.WARNING)
