#!/bin/sh
# Packages: boto3 1.44.5 and obstore 0.12.1, conditional creation of an S3 object (`If-None-Match: *`)
#
# Behaviour: if the server carries a conditional PUT out and its answer is lost on the way, both clients send the
# PUT again by themselves and report the answer of the second one. The caller is told that somebody else has
# created the object (HTTP 412, `PreconditionFailed` or `AlreadyExistsError`), although it was this very call.
#
# What one would have guessed: a client that retries by itself knows that its first try may have succeeded, and
# says so; or it does not retry a request that is not idempotent.
#
# Why it matters: create-if-absent is how evaluation runs claim work in an object store without a database: one
# writer for a shard, one lock for a run, one commit of a result. A writer that trusts the refusal gives up a
# claim that is its own, which nobody else will take, or throws away results that are in fact committed. After
# each refusal the object has to be read back and compared with what was to be written.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet uv
    uv=$work/tools/bin/uv
fi
"$uv" venv --quiet --python "$(command -v python3)" "$work/venv"
"$uv" pip install --quiet --python "$work/venv" boto3==1.44.5 obstore==0.12.1
"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store


class Store(BaseHTTPRequestHandler):
    """The part of S3 that creates objects. The first answer to each key is lost after the object was stored."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes] = {}
    calls: list[str] = []

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        key = self.path.partition("?")[0]
        if self.headers.get("If-None-Match") != "*":
            return self.answer(400)
        if key in self.objects:
            self.calls.append("412, the object is there")
            return self.answer(412)
        self.objects[key] = body
        self.calls.append("stored, the answer is lost")
        self.close_connection = True

    def answer(self, status: int) -> None:
        code = b"PreconditionFailed" if status == 412 else b"InvalidRequest"
        body = b"<Error><Code>" + code + b"</Code><Message>seen</Message></Error>"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
threading.Thread(target=server.serve_forever, daemon=True).start()
endpoint = f"http://127.0.0.1:{server.server_port}"


def by_boto3() -> None:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    client.put_object(Bucket="runs", Key="claim-boto3", Body=b"mine", IfNoneMatch="*")


def by_obstore() -> None:
    store = S3Store(
        "runs",
        endpoint=endpoint,
        region="us-east-1",
        access_key_id="key",
        secret_access_key="secret",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    obstore.put(store, "claim-obstore", b"mine", mode="create", use_multipart=False)


def refused(create: Callable[[], None], error: type[Exception]) -> bool:
    """Create one object, and tell what the server saw and the caller got."""
    Store.calls.clear()
    try:
        create()
        said = "created"
    except error as seen:
        said = f"{type(seen).__name__}: {str(seen).splitlines()[0][:90]}"
    print(f"{create.__name__}: the caller got  {said}")
    for number, call in enumerate(Store.calls, 1):
        print(f"  request {number}: {call}")
    return said != "created" and len(Store.calls) >= 2


unchanged = [refused(by_boto3, ClientError), refused(by_obstore, AlreadyExistsError)]
print("in the store:", Store.objects)
server.shutdown()
sys.exit(0 if all(unchanged) else "a client no longer refuses its own write")
PYTHON
