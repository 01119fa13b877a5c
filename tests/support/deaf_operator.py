"""The operator with kopf's connections going another way, ``EVALRUN_TEST_WATCHES``: so that they alone can be cut."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import kopf

from evalrun_operator import __main__
from evalrun_operator.kube import connection
from evalrun_operator.watch import handlers


async def login(configuration: Any) -> kopf.ConnectionInfo:
    return dataclasses.replace(await connection.login(configuration), server=os.environ["EVALRUN_TEST_WATCHES"])


if __name__ == "__main__":
    handlers.login = login
    __main__.main()
