"""Entry of the process of a replica on the driver's machine.

It ends with the thread that started it, however the driver ends.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run as the child: arguments are the connection's descriptor and the driver's process id."""
    # First of all: an import takes seconds, and an engine that hangs never sees that the connection has ended.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        return  # the driver ended before the line above
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("evalrun_runner").setLevel(logging.INFO)
    from evalrun_runner.fleet.local_replica import serve

    serve(Connection(int(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    # Do not wait for the threads of an engine.
    os._exit(0)


if __name__ == "__main__":
    main()
