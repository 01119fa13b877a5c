"""Log records as single lines on standard error, whatever they contain."""

from __future__ import annotations

import logging
import sys


class OneLine(logging.Formatter):
    """Formatter that escapes line ends, so that a line is a record and user input cannot forge one."""

    def format(self, record: logging.LogRecord) -> str:
        """Format the record as one line."""
        return super().format(record).replace("\r", "\\r").replace("\n", "\\n")


def set_up(level: str = "INFO") -> None:
    """Configure logging for the whole process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # It logs each event that it passes on.
    logging.getLogger("kopf").setLevel(logging.WARNING)
