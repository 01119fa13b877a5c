"""A replica in a process of its own on the driver's machine: what that process does."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
from multiprocessing.connection import Connection

from evalrun_runner.engine.settings import EngineSettings
from evalrun_runner.engine.vllm import VllmSettings, import_vllm, prepare_environment
from evalrun_runner.errors import EvalRunError, RunFailed, first_line
from evalrun_runner.fleet.conversation import Begin, Broken, Hello, Load, Loaded
from evalrun_runner.fleet.protocol import is_final
from evalrun_runner.machine import usable_cpus
from evalrun_runner.replica.assembly import build_replica


class _Ahead(threading.Thread):
    """Import of the engine's libraries, while the connection is listened to."""

    def __init__(self, engine: EngineSettings) -> None:
        super().__init__(name="imports", daemon=True)
        self._engine = engine
        self._failure: RunFailed | None = None

    def run(self) -> None:
        """Import vLLM, if that is the engine."""
        if not isinstance(self._engine, VllmSettings):
            return
        os.environ.update(prepare_environment(self._engine, usable_cpus()))
        try:
            import_vllm()
        # Whatever keeps a library from being imported, each replacement would meet it again.
        except BaseException as error:  # noqa: BLE001
            self._failure = RunFailed(
                f"vLLM cannot be imported here: {type(error).__name__}: {first_line(error)}\n"
                "hint: install evalrun-runner with its extra cpu or cuda, and nothing that hides vllm or torch"
            )

    def finish(self) -> None:
        """Wait for the imports.

        Raises:
            _Hopeless: They failed.
        """
        self.join()
        if self._failure is not None:
            raise _Hopeless(self._failure)


class _Hopeless(Exception):
    """A failure that every other process would meet as well."""

    def __init__(self, failure: RunFailed) -> None:
        super().__init__()
        self.failure = failure


def serve(connection: Connection) -> None:
    """Run one replica until the driver has no more to say to it."""
    begin: Begin = connection.recv()
    connection.send(Hello())
    ahead = _Ahead(begin.engine)
    ahead.start()
    try:
        # Nothing is decoded, and thereby imported, beside the imports of the other thread.
        message = connection.recv_bytes()
        ahead.finish()
        load: Load = pickle.loads(message)  # noqa: S301
        replica = build_replica(load.name, load.settings)
        connection.send(Loaded({"host": socket.gethostname(), **replica.load()}))
        while True:
            ask = connection.recv()
            connection.send(replica.exchange(ask.order, ask.wait))
    except (EOFError, ConnectionError):
        return
    except _Hopeless as hopeless:
        connection.send(Broken(hopeless.failure, final=True))
    except EvalRunError as error:
        connection.send(Broken(error, final=is_final(error)))
    # The driver is told of any error; the process cannot be used again.
    except Exception as error:
        logging.getLogger(__name__).critical("the replica broke", exc_info=error)
        connection.send(Broken(RunFailed(f"{type(error).__name__}: {first_line(error)}"), final=False))
