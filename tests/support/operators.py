"""The operator as a separate process, as in a pod, with the settings and permissions that a test chooses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cluster.process import until

START_S = 60.0


@dataclass
class OperatorProcess:
    """Process of ``python -m evalrun_operator``, or of another module of ``tests/support`` that wraps it."""

    folder: Path
    kubeconfig: Path
    settings: dict[str, Any]
    module: str = "evalrun_operator"
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            print(f"--- the operator said\n{self.said()[-8000:]}")

    def start(self) -> None:
        """Start it; it is not ready yet."""
        self.port, self.metrics_port = free_port(), free_port()
        file = self.folder / "settings.yaml"
        file.write_text(yaml.safe_dump({**self.settings, "healthPort": self.port, "metricsPort": self.metrics_port}))
        tests = str(Path(__file__).parents[1])
        environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "EVALRUN_SETTINGS": str(file),
            "PYTHONPATH": tests,
            **self.environment,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", self.module], env=environment, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        """Wait for its first resync."""
        until(lambda: self.asks("/readyz") == 200, START_S, lambda: f"the operator to be ready; {self.said()[-3000:]}")

    def asks(self, path: str) -> int | None:
        """Return the HTTP status of its health; None if it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None

    def stop(self) -> int:
        """Send SIGTERM like the kubelet; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(15)

    @property
    def log(self) -> Path:
        return self.folder / "operator.log"

    def said(self, pattern: str = "") -> str:
        """Return its log, or the lines of it that match."""
        text = self.log.read_text() if self.log.exists() else ""
        return "\n".join(line for line in text.splitlines() if re.search(pattern, line))


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
