"""A real S3 server for tests (SeaweedFS, one binary), and a front that misbehaves before it.

with Seaweed(tmp_path) as seaweed:
    seaweed.create_bucket("evals")
    store = S3Store("evals", "run", seaweed.settings())
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError
from mypy_boto3_s3.client import S3Client

from evalrun_runner.store.credentials import ACCESS_KEY, SECRET_KEY
from evalrun_runner.store.s3 import S3Settings, make_client

_READY_S = 60.0
_ADMIN = ("admin-key", "admin-secret")
_WRITER = ("writer-key", "writer-secret")
_READER = ("reader-key", "reader-secret")


class Seaweed:
    """A SeaweedFS server on loopback with data below ``directory``; started on entry, killed on exit."""

    def __init__(self, directory: Path, *options: str) -> None:
        """``options`` go to ``weed server``; ``-master.volumeSizeLimitMB=1``, ``-volume.max=9`` make it soon full."""
        self._directory = directory / "seaweed"
        self._data = self._directory / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        names = ("s3", "s3.grpc", "master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "iam")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.log = self._directory / "weed.log"
        self._identities = self._directory / "identities.json"
        self._write_identities(_WRITER)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def port(self) -> int:
        """The S3 port."""
        return self._ports["s3"]

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> S3Settings:
        """Of the identity that may read, write and list; an administrator's PUT would make a missing bucket."""
        return self._settings("writer", _WRITER)

    def reader_settings(self) -> S3Settings:
        """Of the identity that may only read and list."""
        return self._settings("reader", _READER)

    def wrong_settings(self) -> S3Settings:
        """Of nobody that the server knows."""
        return self._settings("nobody", ("nobody", "nothing"))

    def rotate(self, keys: tuple[str, str]) -> None:
        """Revoke the writer's keys at once and take these instead; ``settings`` goes on naming the old ones."""
        self._write_identities(keys)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        client = make_client(self._settings("rotated", keys))
        old = make_client(self.settings())
        wait_until(lambda: _accepted(client) and not _accepted(old), _READY_S, lambda: "the new keys are not taken")

    def create_bucket(self, name: str) -> None:
        """Make a bucket; names need three characters or more."""
        self._admin().create_bucket(Bucket=name)

    def start(self) -> None:
        """Start the server on the same data and ports as before; returns when it answers and can write."""
        ports = [f"-{name}.port={self._ports[name]}" for name in ("s3", "master", "volume", "filer")]
        ports += [f"-{name}.port.grpc={self._ports[name + '.grpc']}" for name in ("s3", "master", "volume", "filer")]
        # After a kill the only master waits for this long before it leads again.
        quiet = [
            "-master.electionTimeout=1s",
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-iam.port={self._ports['iam']}",
        ]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("weed")),
                    "server",
                    f"-dir={self._data}",
                    "-ip=127.0.0.1",
                    "-s3",
                    f"-s3.config={self._identities}",
                    "-volume.max=20",
                    "-master.volumeSizeLimitMB=64",
                    *ports,
                    *quiet,
                    *self._options,
                ],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                start_new_session=True,
            )
        wait_until(self._answers, _READY_S, lambda: f"SeaweedFS did not start:\n{self.log.read_text()[-4000:]}")

    def kill(self) -> None:
        """SIGKILL, as a lost machine; the data stay."""
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        for port in self._ports.values():  # a killed server leaves its sockets behind
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def restart(self) -> None:
        """Kill and start again."""
        self.kill()
        self.start()

    def _write_identities(self, writer: tuple[str, str]) -> None:
        identities = [
            _identity("admin", _ADMIN, ["Admin", "Read", "Write", "List"]),
            _identity("writer", writer, ["Read", "Write", "List"]),
            _identity("reader", _READER, ["Read", "List"]),
        ]
        self._identities.write_text(json.dumps({"identities": identities}))

    def _settings(self, name: str, keys: tuple[str, str]) -> S3Settings:
        folder = self._directory / "credentials" / name
        write_credentials(folder, keys)
        return S3Settings(
            endpoint_url=self.endpoint, region="us-east-1", addressing_style="path", credentials_dir=str(folder)
        )

    def _admin(self) -> S3Client:
        return make_client(self._settings("admin", _ADMIN))

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"SeaweedFS ended with {self._process.returncode}:\n{self.log.read_text()[-4000:]}")
        client = self._admin()
        try:
            names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
            if "readiness" not in names:
                client.create_bucket(Bucket="readiness")
            client.put_object(Bucket="readiness", Key="probe", Body=b"x")
        except (ClientError, BotoCoreError):
            return False
        return True


@dataclass
class Misbehaviour:
    """What a ``FlakyProxy`` does to the requests that match; several at once where they agree."""

    slow_down: int = 0
    """Answer 503 SlowDown to this many requests more."""
    drop: int = 0
    """Close the connection without an answer, this many times."""
    commit_then_500: int = 0
    """Hand this many PUTs on and answer 500 all the same."""
    down: bool = False
    """503 for every request while it is on."""
    delay_s: float = 0.0
    """Hold every request back for so long."""


class FlakyProxy:
    """An HTTP front before a store that misbehaves as told, and else hands everything on as it is.

    Signatures cover the Host header, which is therefore left alone: the store sees the proxy's.
    """

    def __init__(self, port: int) -> None:
        """``port`` is that of the store on loopback."""
        self.misbehaviour = Misbehaviour()
        self.requests = 0
        """Requests seen."""
        self._upstream = port
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def before(self, settings: S3Settings) -> S3Settings:
        """The same settings by way of this proxy."""
        return replace(settings, endpoint_url=self.endpoint)

    def _take(self, method: str) -> str:
        """What happens to the next request: one of the misbehaviour's fields, or ``pass``."""
        with self._lock:
            self.requests += 1
            if self.misbehaviour.down:
                return "slow_down"
            for name in ("slow_down", "drop", "commit_then_500"):
                left = getattr(self.misbehaviour, name)
                if left > 0 and (name != "commit_then_500" or method == "PUT"):
                    setattr(self.misbehaviour, name, left - 1)
                    return name
        return "pass"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if proxy.misbehaviour.delay_s:
                    proxy._released.wait(proxy.misbehaviour.delay_s)
                match proxy._take(self.command):
                    case "slow_down":
                        self._fail(503, "SlowDown")
                    case "drop":
                        self.close_connection = True
                        self.connection.shutdown(socket.SHUT_RDWR)
                    case "commit_then_500":
                        self._ask(body)
                        self._fail(500, "InternalError")
                    case _:
                        self._answer(*self._ask(body))

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

            def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                upstream = HTTPConnection("127.0.0.1", proxy._upstream, timeout=60)
                try:
                    upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        if name.lower() not in {"expect", "connection"}:  # between two neighbours only, never signed
                            upstream.putheader(name, value)
                    upstream.endheaders(body)
                    answer = upstream.getresponse()
                    return answer.status, answer.getheaders(), answer.read()
                except (OSError, HTTPException):
                    return 502, [], b""
                finally:
                    upstream.close()

            def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                        self.send_header(name, value)
                length = next((v for n, v in headers if n.lower() == "content-length"), str(len(body)))
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _fail(self, status: int, code: str) -> None:
                body = f"<Error><Code>{code}</Code><Message>told to misbehave</Message></Error>".encode()
                self._answer(status, [("Content-Type", "application/xml")], b"" if self.command == "HEAD" else body)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler


@contextmanager
def seaweed_with_proxy(directory: Path) -> Iterator[tuple[Seaweed, FlakyProxy]]:
    """Both, the proxy before the store."""
    with ExitStack() as stack:
        seaweed = stack.enter_context(Seaweed(directory))
        yield seaweed, stack.enter_context(FlakyProxy(seaweed.port))


def wait_until(condition: Callable[[], bool], timeout_s: float, failure: Callable[[], str]) -> None:
    """Wait for a condition; fails with the text of ``failure`` when the time is over."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(failure())
        pause.wait(0.1)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _accepted(client: S3Client) -> bool:
    try:
        client.list_objects_v2(Bucket="readiness")
    except ClientError:
        return False
    return True


def write_credentials(folder: Path, keys: tuple[str, str]) -> None:
    """A folder as a mounted Secret is: links into a hidden one, which a renewal exchanges in one moment."""
    content = folder / f"..{keys[0]}"
    content.mkdir(parents=True, exist_ok=True)
    for name, value in zip((ACCESS_KEY, SECRET_KEY), keys, strict=True):
        if not (content / name).exists():
            (content / name).write_text(value)
        if not (folder / name).exists():
            (folder / name).symlink_to(Path("..data", name))
    fresh = folder / "..fresh"
    fresh.symlink_to(content.name)
    fresh.replace(folder / "..data")


def _identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], "actions": actions}
