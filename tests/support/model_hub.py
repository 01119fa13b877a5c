"""A server on loopback that speaks the hub's protocol as far as a client who downloads models needs it."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import ssl
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>.+))?")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")


@dataclass
class Repo:
    """A repository: its commits, and where its branches stand."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    token: str | None = None
    """Who has no such token does not see it."""

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Make a commit and move a branch to it."""
        content = b"".join(name.encode() + data for name, data in sorted(files.items()))
        sha = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha


class HubServer:
    """The hub; its faults are set while it runs."""

    def __init__(self, certificate: Path | None = None) -> None:
        """Make it; with a certificate, whose key lies beside it, it speaks TLS."""
        self.repos: dict[str, Repo] = {}
        self.gets: Counter[str] = Counter()
        self.requests = 0
        self.fail = 0
        """Answer 503 to this many requests more."""
        self.cut = 0
        """Close the connection in the middle of this many large downloads more."""
        self.corrupt = 0
        """Change a byte at the end of this many large downloads more."""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._scheme = "http"
        if certificate is not None:
            self._scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:<port>``, or with ``https``."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def take(self, fault: str) -> bool:
        """Whether the fault happens now; it is used up by one."""
        with self._lock:
            left: int = getattr(self, fault)
            setattr(self, fault, max(left - 1, 0))
            return left > 0

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                hub.requests += 1
                path = unquote(urlsplit(self.path).path)
                if hub.take("fail"):
                    return self._send(503, b"busy")
                match = _RESOLVE.fullmatch(path) or _INFO.fullmatch(path)
                repo = hub.repos.get(match["repo"]) if match else None
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                if match is None or repo is None or (repo.token and repo.token != token):
                    return self._error(401 if repo else 404, "RepoNotFound")
                revision = match["revision"] or "main"
                commit = repo.branches.get(revision, revision)
                files = repo.commits.get(commit)
                if files is None:
                    return self._error(404, "RevisionNotFound")
                if match.re is _INFO:
                    return self._send(200, json.dumps(_info(match["repo"], commit, files)).encode())
                if repo.gated:
                    return self._error(403, "GatedRepo")
                if match["name"] not in files:
                    return self._error(404, "EntryNotFound")
                return self._file(match["name"], commit, files[match["name"]])

            do_GET = do_HEAD = handle_one

            def _file(self, name: str, commit: str, data: bytes) -> None:
                headers = {"X-Repo-Commit": commit, "ETag": f'"{_etag(name, data)}"', "Accept-Ranges": "bytes"}
                if self.command == "GET":
                    hub.gets[name] += 1
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                start = int(asked[1]) if asked else 0
                if asked:
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                large = self.command == "GET" and name.endswith(".safetensors")
                if large and hub.take("corrupt"):
                    data = data[:-1] + bytes([data[-1] ^ 1])
                self._send(206 if asked else 200, data[start:], headers, cut=large and hub.take("cut"))

            def _error(self, status: int, code: str) -> None:
                self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

            def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: bool = False) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "HEAD":
                    return
                self.wfile.write(body[: len(body) // 2] if cut else body)
                if cut:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_WR)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:  # a client that was killed
                    self.close_connection = True

        return Handler


def _info(repo: str, commit: str, files: dict[str, bytes]) -> dict[str, object]:
    siblings = [
        {
            "rfilename": name,
            "size": len(data),
            "blobId": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
            **(
                {"lfs": {"sha256": _etag(name, data), "size": len(data), "pointerSize": 134}} if _is_large(name) else {}
            ),
        }
        for name, data in files.items()
    ]
    return {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": [], "downloads": 0}


def _etag(name: str, data: bytes) -> str:
    if _is_large(name):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))
