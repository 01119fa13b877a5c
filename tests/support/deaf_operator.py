"""An operator whose kopf connections use another address, ``EVALRUN_TEST_WATCHES``, so that only they can be cut."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import kopf

from evalrun_operator import __main__
from evalrun_operator.kube import connection
from evalrun_operator.watch import handlers


async def login(found: Any) -> kopf.ConnectionInfo:
    return dataclasses.replace(await connection.login(found), server=os.environ["EVALRUN_TEST_WATCHES"])


if __name__ == "__main__":
    handlers.login = login  # type: ignore[attr-defined]  # imported there, and not to be imported from there
    __main__.main()
