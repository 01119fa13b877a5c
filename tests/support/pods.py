"""A run's pods without Kubernetes: the real entry points, each in network, process and mount namespaces of its own.

    with PodNetwork(tmp_path) as network:
        driver = network.driver(config)
        replicas = [network.replica() for _ in range(2)]
        assert driver.ended() == 0

All pods listen on the same fixed ports, as in a cluster; each has an address of its own on a bridge. Needs root.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from evalrun_api import RunConfig, RunProgress, RunResult
from evalrun_api.wire.pods import CONFIG_KEY, HTTP_PORT, Environment
from support.seaweed import wait_until

_NUMBERS = itertools.count()

END_SECONDS = 240.0
RAY_FOLDER = Path("/tmp/ray")
"""Ray's own default: a pod's is its own, and the path the same in all."""

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True).returncode != 0,
    reason="pods are made of network namespaces, which only root may make here",
)


class PodNetwork:
    """A bridge with a pod at each address. On exit from the context all pods are killed and nothing is left."""

    def __init__(self, folder: Path, *, store: int | None = None) -> None:
        """``folder`` takes logs and last words; ``store`` is a port of this machine's loopback that pods may reach."""
        number = os.getpid() % 250
        self._store_port = store
        self._relay: _Relay | None = None
        # The kernel takes a namespace's links away a little after the namespace: no two of a process share a name.
        self.name = f"e{os.getpid() % 100000}{chr(ord('a') + next(_NUMBERS) % 26)}"
        self._subnet = f"10.213.{number}"
        self._folder = folder
        self._token = secrets.token_hex(32)
        self._pods: list[Pod] = []
        self._addresses: list[int] = []

    def __enter__(self) -> Self:
        RAY_FOLDER.mkdir(exist_ok=True)
        _ip("link", "add", self.name, "type", "bridge")
        _ip("address", "add", f"{self._subnet}.1/24", "dev", self.name)
        _ip("link", "set", self.name, "up")
        if self._store_port is not None:
            self._relay = _Relay(f"{self._subnet}.1", self._store_port)
            threading.Thread(target=self._relay.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pod in self._pods:
            pod.kill()
        if self._relay is not None:
            self._relay.shutdown()
            self._relay.server_close()
        for host in self._addresses:
            _ip("netns", "delete", f"{self.name}-{host}")
        _ip("link", "delete", self.name)

    def driver(self, config: RunConfig, *, host: int = 2) -> DriverPod:
        """Start a driver's pod; the next one at the same address stands for its replacement behind the Service."""
        folder = self._folder / f"driver-{len(self._pods)}"
        folder.mkdir(parents=True)
        (folder / CONFIG_KEY).write_text(config.to_json())
        environment: dict[str, str] = {
            Environment.CONFIG: str(folder / CONFIG_KEY),
            Environment.TERMINATION_LOG: str(folder / "termination-log"),
        }
        pod = DriverPod(self._namespace(host), "evalrun-driver", folder, self._environment("driver", host, environment))
        self._pods.append(pod)
        return pod

    def replica(self, *, head: int = 2) -> Pod:
        """Start a replica's pod, at an address of its own."""
        host = max([*self._addresses, 9]) + 1
        name = f"replica-{host}"
        environment = self._environment(name, host, {Environment.HEAD: f"{self._subnet}.{head}"})
        pod = Pod(self._namespace(host), "evalrun-replica", self._folder / name, environment)
        self._pods.append(pod)
        return pod

    @property
    def store(self) -> str:
        """Where pods reach the store."""
        assert self._relay is not None, "the network was made without a store"
        host, port = self._relay.server_address[:2]
        return f"http://{host!s}:{port}"

    def cut(self, pod: Pod) -> None:
        """Nothing reaches the pod any more, and nothing comes from it: its node is cut off."""
        _ip("link", "set", f"{self.name}.{pod.address.rpartition('.')[2]}", "down")

    def _environment(self, name: str, host: int, more: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            Environment.POD_NAME: name,
            Environment.POD_IP: f"{self._subnet}.{host}",
            **more,
        }

    def _namespace(self, host: int) -> str:
        """The network namespace of an address, made when it is first used."""
        name = f"{self.name}-{host}"
        if host not in self._addresses:
            link = f"{self.name}.{host}"
            _ip("netns", "add", name)
            self._addresses.append(host)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", link, "master", self.name, "up")
            _ip("-n", name, "address", "add", f"{self._subnet}.{host}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        return name


class Pod:
    """A pod with one container, whose first process is one of our entry points."""

    def __init__(self, namespace: str, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.address = environment[Environment.POD_NAME], environment[Environment.POD_IP]
        self._log = folder / "log"
        script = f'mount -t tmpfs tmpfs {RAY_FOLDER} && exec "$@"'
        isolated = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, "pod"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{namespace}", *isolated, str(Path(sys.executable).with_name(command))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text()

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def ended(self, timeout: float = END_SECONDS) -> int:
        """Wait for its end; the exit code."""
        wait_until(lambda: not self.running, timeout, lambda: f"{self.name} did not end:\n{self.log}")
        return self._process.wait()

    def until(self, text: str, timeout: float = END_SECONDS) -> None:
        """Wait until it has said something."""
        self.wait(lambda: text in self.log, f"says {text!r}", timeout)

    def wait(self, condition: Any, what: str, timeout: float = END_SECONDS) -> None:
        """Wait for a condition while the pod runs."""

        def met() -> bool:
            over = not self.running
            if condition():
                return True
            assert not over, f"{self.name} ended ({self._process.returncode}) before it {what}:\n{self.log}"
            return False

        wait_until(met, timeout, lambda: f"waited {timeout:g} s until {self.name} {what}:\n{self.log}")

    def signal(self, number: int, title: str | None = None) -> None:
        """Send a signal to its first process, as the kubelet does, or to the one whose command line has this in it."""
        os.kill(self._first() if title is None else self.pid_of(title), number)

    def pid_of(self, title: str) -> int:
        """The process of the pod whose command line has this in it."""
        (pid,) = [pid for pid in _below(self._first()) if title in _title(pid)]
        return pid

    def processes(self) -> list[str]:
        """The command lines of all its processes."""
        return [_title(pid) for pid in [self._first(), *_below(self._first())]]

    def kill(self) -> None:
        """SIGKILL to everything in it, as a node's power cut."""
        if self.running:
            self.signal(signal.SIGKILL)
        self._process.wait()

    def _first(self) -> int:
        (pid,) = _children(self._process.pid)
        return pid


class DriverPod(Pod):
    """The driver's pod."""

    def __init__(self, namespace: str, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._last_words = Path(environment[Environment.TERMINATION_LOG])
        super().__init__(namespace, command, folder, environment)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; (0, why) where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:{HTTP_PORT}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @property
    def was_ready(self) -> bool:
        """Whether it ever said that its preflight had passed."""
        return "preflight has passed" in self.log

    @property
    def ready(self) -> bool:
        """Whether its readiness probe succeeds."""
        return self.get("/readyz")[0] == 200

    def progress(self) -> RunProgress | None:
        """``/progress``, None where nobody answers."""
        status, body = self.get("/progress")
        return RunProgress.from_json(body) if status == 200 else None

    def reached(self, ok: int, replicas: int, timeout: float = END_SECONDS) -> None:
        """Wait until so many items are committed and so many replicas are ready."""

        def met() -> bool:
            shown = self.progress()
            return shown is not None and shown.counts.ok >= ok and shown.replicas_ready == replicas

        self.wait(met, f"has {ok} items and {replicas} replicas", timeout)

    @property
    def result(self) -> RunResult:
        """Its last words."""
        return RunResult.from_json(self._last_words.read_bytes())

    @property
    def head(self) -> dict[str, Any]:
        """``/head``."""
        head: dict[str, Any] = json.loads(self.get("/head")[1])
        return head


class _Relay(socketserver.ThreadingTCPServer):
    """Connections to an address of the bridge, handed on to a port of loopback."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: str, port: int) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", port)) as upstream:
                    ends = {self.request: upstream, upstream: self.request}
                    while ready := select.select([*ends], [], [], 60)[0]:
                        for end in ready:
                            if not (data := end.recv(1 << 16)):
                                return
                            ends[end].sendall(data)

        super().__init__((address, 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who hung up is no news."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _below(pid: int) -> list[int]:
    found: list[int] = []
    generation: Sequence[int] = [pid]
    while generation:
        generation = [child for parent in generation for child in _children_of_threads(parent)]
        found += generation
    return found


def _children_of_threads(pid: int) -> list[int]:
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has just ended


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has just ended
