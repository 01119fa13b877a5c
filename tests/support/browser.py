"""A headless Chromium for tests that look at pages, and a proxy that writes down every request and answers none."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SECONDS = 120.0
"""For a page to be there, on a busy machine."""
_NAMES = ("chromium-headless-shell", "chromium", "google-chrome")


def chromium() -> str:
    """The program; skips the test where there is none (``scripts/chromium.sh`` brings one)."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "evalrun" / "chromium" / "chromium"
    found = next((path for name in _NAMES if (path := shutil.which(name))), str(cache))
    if not Path(found).exists():
        pytest.skip("no Chromium: scripts/chromium.sh brings one")
    return found


@dataclass(frozen=True, slots=True)
class Browser:
    """Chromium behind a proxy of the test's."""

    program: str
    proxy: int
    """Port of the proxy."""
    requests: list[str]
    """What Chromium asked the proxy for."""
    folder: Path

    def dom(self, page: Path, width: int = 1280) -> str:
        """The page as it is after all of it was loaded and whatever script there is had a second to run."""
        return self._run(f"--window-size={width},900", "--virtual-time-budget=1000", "--dump-dom", page.as_uri())

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [
                self.program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                f"--user-data-dir={self.folder}",
                f"--proxy-server=http://127.0.0.1:{self.proxy}",
                "--proxy-bypass-list=<-loopback>",
                *arguments,
            ],
            capture_output=True,
            timeout=SECONDS,
            check=True,
        )
        return done.stdout.decode()


class _Refusing(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        self.send_error(403)

    do_CONNECT = do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Chromium; what it keeps goes to ``folder``."""
    program = chromium()
    requests: list[str] = []
    handler = type("Refusing", (_Refusing,), {"requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield Browser(program, proxy.server_address[1], requests, folder)
        finally:
            proxy.shutdown()
            thread.join()
