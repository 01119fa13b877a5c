"""An operator whose kopf connections use another address, ``EVALRUN_TEST_WATCHES``, so that only they can be cut."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import kopf

from evalrun_operator import __main__, app
from evalrun_operator.kube import connection


async def login(found: Any, heard: connection.Heard) -> kopf.AiohttpSession:
    return dataclasses.replace(await connection.login(found, heard), server=os.environ["EVALRUN_TEST_WATCHES"])


if __name__ == "__main__":
    app.login = login  # type: ignore[attr-defined]  # imported there, and not to be imported from there
    __main__.main()
