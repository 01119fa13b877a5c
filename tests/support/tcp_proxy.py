"""A TCP proxy that can fall silent: connections stay open, and nothing goes through."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class TcpProxy:
    """From a port of its own to another. ``silent`` and ``refuse`` hold for all connections, old and new."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._flows = threading.Event()
        self._flows.set()
        self._closing = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._flows.set()
        self.refuse()

    def silent(self) -> None:
        """Nothing goes through any more."""
        self._flows.clear()

    def refuse(self) -> None:
        """Connections end, new ones are refused."""
        with contextlib.suppress(OSError):  # nothing to shut down, on some systems
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._open):
            with contextlib.suppress(OSError):  # its other end may be gone by now
                end.shutdown(socket.SHUT_RDWR)

    def accept_again(self) -> None:
        """After ``refuse``."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            for one, other in ((near, far), (far, near)):
                self._open.add(one)
                threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either end may leave at any time: the other one is told below
            while data := source.recv(65536):
                self._flows.wait()
                if self._closing:
                    break
                target.sendall(data)
        with contextlib.suppress(OSError):  # it may have left, too
            target.shutdown(socket.SHUT_WR)
        self._open.discard(source)
        if target not in self._open:
            source.close()
            target.close()
