"""The operator, dying at once after its n-th write: ``EVALRUN_TEST_WRITES=n python -m support.crashing_operator``.

No code of its own runs after the API server took the write, as when its machine loses power.
"""

from __future__ import annotations

import os
from typing import Any

from evalrun_operator import __main__, app, client

EXIT_CODE = 70
_READS = {"get", "list"}


class CrashingClient(client.Client):
    """Dies with the answer to its n-th write in its hands."""

    writes = 0

    async def _call(self, request: Any) -> client.Body:
        answer = await super()._call(request)
        if request.verb not in _READS:
            CrashingClient.writes += 1
            if CrashingClient.writes == int(os.environ["EVALRUN_TEST_WRITES"]):
                print(f"CRASH after {request.verb} {request.path}", flush=True)
                os._exit(EXIT_CODE)
        return answer


if __name__ == "__main__":
    app.Client = CrashingClient  # type: ignore[misc]  # what it is for
    __main__.main()
