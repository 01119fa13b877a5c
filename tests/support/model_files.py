"""Small models in directories, and processes that fetch them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from evalrun_runner.models.origins import Origins
from evalrun_runner.models.types import Listing, RemoteFile, Transfer

FETCH = """
import sys, threading
from functools import partial
from pathlib import Path
from evalrun_runner.models import ModelSource, fetch_model
from evalrun_runner.models.origins import Origins
from evalrun_runner.models.s3 import S3Origin
from evalrun_runner.store.s3 import S3Settings
small = Origins(s3=partial(S3Origin, range_bytes=1 << 16))
source, cache, halt_at = eval(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def watch(progress):
    if progress.stage == "downloading" and halt_at and progress.done >= halt_at:
        print("halted", flush=True)
        threading.Event().wait()
    if progress.stage == "waiting":
        print("waiting", flush=True)
print("ready", flush=True)
sys.stdin.readline()
print(fetch_model(source, cache, progress=watch, origins=small).digest, flush=True)
"""


def model_content(seed: int = 0, shards: int = 2, values: int = 100_000) -> dict[str, bytes]:
    """The files of a model with ``values`` float32 in each shard: name -> content."""
    names = [f"model-{n:05d}-of-{shards:05d}.safetensors" for n in range(1, shards + 1)]
    index = {"metadata": {}, "weight_map": {f"layer.{n}": name for n, name in enumerate(names)}}
    content = {
        "config.json": json.dumps({"model_type": "llama", "seed": seed}).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors.index.json": json.dumps(index).encode(),
    }
    random = np.random.default_rng(seed)
    for n, name in enumerate(names):
        content[name] = save({f"layer.{n}": random.random(values, dtype=np.float32)})
    return content


def write_files(directory: Path, content: dict[str, bytes]) -> Path:
    """Write files into a directory."""
    for name, data in content.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


class FolderOrigin:
    """An origin that is a dictionary."""

    where = "memory"

    def __init__(self, content: dict[str, bytes], revision: str | None = "1") -> None:
        self.content, self.revision = content, revision
        self.version = "v1"
        self.sha256 = False
        """Whether it knows the hashes of the weights, as the hub does."""
        self.brought: list[str] = []

    @property
    def everywhere(self) -> Origins:
        """Origins that are all this one."""
        return Origins(lambda _source, _patience: self, lambda _source, _patience: self)

    def pin(self) -> str | None:
        """The revision."""
        return self.revision

    def list(self) -> Listing:
        """All files."""
        return Listing(tuple(self._file(name, data) for name, data in self.content.items()))

    def download(self, files: Sequence[RemoteFile], into: Path, transfer: Transfer) -> None:
        """Write them there."""
        for file in files:
            write_files(into, {file.name: self.content[file.name]})
            transfer.advance(file.size)
            self.brought.append(file.name)

    def _file(self, name: str, data: bytes) -> RemoteFile:
        known = self.sha256 and name.endswith(".safetensors")
        return RemoteFile(name, len(data), self.version, hashlib.sha256(data).hexdigest() if known else None)


class Fetcher:
    """Another process that fetches a model into a cache; it says what happens, line by line."""

    def __init__(self, source: str, cache: Path, halt_at: int = 0) -> None:
        """``source`` is the expression of a ModelSource; after ``halt_at`` bytes it stands still."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", FETCH, source, str(cache), str(halt_at)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def go(self) -> None:
        """Begin."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line that it says; empty when it has ended."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.close()

    def close(self) -> int:
        """Wait for its end; its exit code."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        code = self.process.wait(60)
        self.process.stdout.close()
        return code
