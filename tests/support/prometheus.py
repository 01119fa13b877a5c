"""A Prometheus as a process on this machine, and promtool; both built beforehand, see `cluster.binaries`.

with Prometheus(tmp_path, scrape("driver", "127.0.0.1:8080")) as prometheus:
    prometheus.wait_for_series("evalrun_items_planned")
    assert promtool("check", "rules", rules)
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cluster.binaries import PROMETHEUS
from cluster.fixtures import prebuilt
from cluster.process import run
from cluster.prometheus_api import PrometheusApi
from support.seaweed import free_ports, wait_until

_READY_S = 60.0


def program() -> Path:
    """Find the program; where it is not built, the test is skipped, or fails in continuous integration."""
    return prebuilt(PROMETHEUS)


def promtool(*words: str | Path, stdin: str | None = None) -> str:
    """Run promtool; its standard output.

    Raises:
        ClusterError: It found fault; carries what it said.
    """
    return run(program().with_name("promtool"), *words, input_text=stdin)


def scrape(job: str, *targets: str, interval: str = "1s") -> dict[str, Any]:
    """Build a configuration that scrapes only these ``host:port``; it may be extended."""
    static = [{"targets": list(targets)}]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [{"job_name": job, "static_configs": static}],
    }


class Prometheus(PrometheusApi):
    """A Prometheus on a free port of loopback, its data in ``folder``; started on entry, stopped on exit."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, rules: Sequence[Path] = ()) -> None:
        """``config`` is its configuration; ``rules`` are files of rules that it reads besides."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (self._port,) = free_ports(1)
        self._file = folder / "prometheus.yml"
        self.log = folder / "prometheus.log"
        self.configure({**config, "rule_files": [str(file) for file in rules]} if rules else config)

    @property
    def url(self) -> str:
        """Address, ``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self._port}"

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write another configuration, which ``reload`` makes it read."""
        self._file.write_text(yaml.safe_dump(dict(config)))

    def __enter__(self) -> Self:
        flags = [
            f"--config.file={self._file}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-lifecycle",
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([program(), *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(self._up, _READY_S, lambda: f"Prometheus did not start:\n{self.log.read_text()[-4000:]}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _up(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"Prometheus ended with {self._process.returncode}:\n{self.log.read_text()[-4000:]}")
        return self.ready()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
