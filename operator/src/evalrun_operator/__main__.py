"""The command ``evalrun-operator``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from evalrun_operator import app, logs
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.election import LeaseLost
from evalrun_operator.kube.errors import NoCluster
from evalrun_operator.settings import SETTINGS_VARIABLE, SettingsError, load_settings

logger = logging.getLogger("evalrun_operator")


def main() -> None:
    """Run until stopped.

    Exit code 0: asked to stop. 1: an error, start it again. 2: the settings are invalid.
    """
    logs.set_up(os.environ.get("EVALRUN_LOG_LEVEL", "INFO"))
    file = os.environ.get(SETTINGS_VARIABLE)
    try:
        settings = load_settings(Path(file) if file else None)
    except SettingsError as error:
        logger.error("%s", error)
        sys.exit(2)
    try:
        asyncio.run(app.run(settings, JobsBackend(settings)))
    except (LeaseLost, NoCluster) as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception:
        logger.exception("the operator stops after an unexpected error")
        sys.exit(1)


if __name__ == "__main__":
    main()
