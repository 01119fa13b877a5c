"""An operator that dies after each write that the API server accepted, and is started again: one life per write.

No code of its own runs after the write, as when its machine loses power. Each life is forked from a process that has
imported everything, so that it costs as much as an operator, not as much as a start of Python.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from evalrun_operator import __main__, app
from evalrun_operator.kube import client

CRASHED = 70
_READS = {"get", "list"}
_PR_SET_PDEATHSIG = 1


class CrashingClient(client.Client):
    """A client that kills its process when it receives the answer to its first write."""

    async def _call(self, request: Any) -> client.Body:
        answer = await super()._call(request)
        if request.verb not in _READS:
            print(f"CRASH after {request.verb} {request.path}", flush=True)
            os._exit(CRASHED)
        return answer


def main() -> None:
    app.Client = CrashingClient  # type: ignore[attr-defined]  # what it is for
    while True:
        child = os.fork()
        if child == 0:
            # The test kills the parent, and a life does not outlive it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            __main__.main()
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        if (code := os.waitstatus_to_exitcode(status)) != CRASHED:
            sys.exit(code)


if __name__ == "__main__":
    main()
