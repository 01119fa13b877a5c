"""Images without a registry: written here or built elsewhere, imported once, shared with every node by hard links.

A *golden* folder is a containerd root into which images were imported. A node's root is a copy of hard links of it:
committed layers are never written to, so only containerd's two databases are really copied. That takes a quarter of a
second and no room, where an import takes minutes.

An *archive* here is the tar of an OCI or Docker image, or the directory of an OCI layout.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.binaries import PAUSE, binary, cache, locked
from cluster.errors import ClusterError
from cluster.process import Daemon, run

PAUSE_IMAGE = "localhost/evalrun-test/pause:1"
BUSYBOX_IMAGE = "localhost/evalrun-test/busybox:1"
_IMPORT_S = 1800.0
_GOLDEN_KEPT = 6
_IMAGES = ("-n", "k8s.io", "images")
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Files:
    """Content of an image that is written here: files by path, links by path, and its configuration."""

    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)


def write_image(reference: str, content: Files) -> Path:
    """Write an OCI archive of one layer to the cache, under the hash of its content."""
    layer = _layer(content)
    digest = hashlib.sha256(layer + json.dumps([reference, content.config], default=str).encode()).hexdigest()
    path = cache() / "images" / f"{digest[:16]}.tar"
    if path.exists():
        return path
    blobs: dict[str, bytes] = {}

    def blob(data: bytes, media: str) -> dict[str, object]:
        name = hashlib.sha256(data).hexdigest()
        blobs[name] = data
        return {"mediaType": media, "digest": f"sha256:{name}", "size": len(data)}

    kind = "application/vnd.oci.image"
    layers = [blob(layer, f"{kind}.layer.v1.tar")]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": content.config,
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
    }
    described = blob(json.dumps(config).encode(), f"{kind}.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json", "config": described, "layers": layers}
    entry = {**blob(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json"), "annotations": {_NAME: reference}}
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file,
        tarfile.open(fileobj=file, mode="w") as tar,
    ):
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
        for name, data in blobs.items():
            _add(tar, f"blobs/sha256/{name}", data)
    Path(file.name).replace(path)
    return path


def pause_image() -> Path:
    """Return the image of the process that holds a pod's namespaces."""
    return write_image(PAUSE_IMAGE, Files({"pause": binary(PAUSE)}, config={"Entrypoint": ["/pause"]}))


def busybox_image() -> Path:
    """Return an image with a shell and the usual tools in two megabytes, for the pods of tests.

    Debian's static ``wget`` crashes with its option -T; the other tools work.

    Raises:
        ClusterError: Debian's package busybox-static is not installed.
    """
    program = Path("/bin/busybox")
    if not program.exists():
        raise ClusterError("test pods need Debian's package busybox-static: run tests/cluster/install.sh as root")
    applets = [name for name in run(program, "--list").split() if name != "busybox"]
    links = {f"bin/{name}": "busybox" for name in applets}
    config = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
    folders = ("tmp", "etc", "proc", "sys", "dev")
    return write_image(BUSYBOX_IMAGE, Files({"bin/busybox": program}, links, folders, config))


def identity(archive: Path) -> str:
    """Identify an image archive by the hash of its table of contents, which names every layer by its hash.

    Raises:
        ClusterError: It is not an OCI or Docker archive.
    """
    try:
        if archive.is_dir():
            return hashlib.sha256((archive / "index.json").read_bytes()).hexdigest()
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name.removeprefix("./") in ("index.json", "manifest.json"):
                    data = tar.extractfile(member)
                    assert data is not None
                    return hashlib.sha256(data.read()).hexdigest()
    except (OSError, tarfile.TarError) as error:
        raise ClusterError(f"the image archive {archive} cannot be read: {error}") from error
    raise ClusterError(f"{archive} is neither an OCI nor a Docker image archive: it has no index.json or manifest.json")


def give(archives: Sequence[Path], roots: Sequence[Path]) -> None:
    """Create each of ``roots`` as a containerd root with exactly these images.

    Images that no golden folder contains are imported first, which takes minutes for gigabytes.
    """
    wanted = {identity(archive): archive for archive in archives}
    key = hashlib.sha256(json.dumps(sorted(wanted)).encode()).hexdigest()[:16]
    folder = _goldens() / key
    # The lock also prevents other processes from deleting the folder before it is copied.
    with locked("golden"):
        if not folder.exists():
            _make_golden(folder, wanted)
        (folder / "used").touch()
        _forget_outdated(folder)
        for root in roots:
            _clone(folder / "root", root)


def load(ctr: Sequence[str], archive: Path, leave_out: Set[str] = frozenset()) -> None:
    """Import an archive by a command prefix for a containerd; ``leave_out`` are blobs that it already has."""
    if not archive.is_dir():
        run(*ctr, *_IMAGES, "import", archive, deadline_s=_IMPORT_S)
        return
    blobs = [f"blobs/sha256/{path.name}" for path in _blobs(archive) if path.name not in leave_out]
    # Tar exits with 1 if a file changed while it was read: its link count did, when containerd removed its own link.
    pipe = 'set -o pipefail; { tar -C "$1" --files-from=- -cf - || [[ $? == 1 ]]; } | "${@:2}"'
    files = "\n".join(["oci-layout", "index.json", *blobs])
    run("bash", "-c", pipe, "bash", archive, *ctr, *_IMAGES, "import", "-", input_text=files, deadline_s=_IMPORT_S)


def _goldens() -> Path:
    return cache() / "golden"


def _clone(source: Path, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-al", source, root)
    for database in source.glob("io.containerd.*/*.db"):
        own = root / database.relative_to(source)
        own.unlink()
        shutil.copy2(database, own)


def _blobs(layout: Path) -> list[Path]:
    return sorted((layout / "blobs" / "sha256").iterdir())


def _make_golden(folder: Path, wanted: Mapping[str, Path]) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    root = partial / "root"
    held = _seed(root, wanted)
    with _containerd(root) as ctr:
        # A replaced image keeps a name until the end: without one it is garbage-collected with layers that the new one,
        # which is still being unpacked, shares.
        for reference in _references(ctr):
            run(*ctr, *_IMAGES, "tag", "--force", reference, f"{reference}.former")
        now = {name: names for name, names in held.items() if name in wanted}
        for name in wanted.keys() - now.keys():
            before = _references(ctr)
            _import(ctr, wanted[name], root)
            now[name] = sorted(ref for ref, digest in _references(ctr).items() if before.get(ref) != digest)
        current = {ref for references in now.values() for ref in references}
        if unwanted := _references(ctr).keys() - current:
            run(*ctr, *_IMAGES, "rm", "--sync", *unwanted)
    (partial / "images.json").write_text(json.dumps(now))
    partial.replace(folder)


def _import(ctr: Sequence[str], archive: Path, root: Path) -> None:
    """Import into a golden folder, sharing a layout's files instead of copying them where possible."""
    store = _content(root)
    store.mkdir(parents=True, exist_ok=True)
    there = {path.name for path in store.iterdir()}
    if archive.is_dir() and archive.stat().st_dev == store.stat().st_dev:
        for blob in _blobs(archive):
            if blob.name not in there:
                os.link(blob, store / blob.name)
    load(ctr, archive, there)


def _references(ctr: Sequence[str]) -> dict[str, str]:
    """Return the digest of each image by its name."""
    lines = run(*ctr, *_IMAGES, "ls").splitlines()[1:]
    return {line.split()[0]: line.split()[2] for line in lines}


def _held() -> dict[Path, dict[str, list[str]]]:
    """Read what each golden folder contains: the names of images by identity."""
    files = [path for path in _goldens().glob("*/images.json") if not path.parent.name.endswith(".partial")]
    return {path.parent: json.loads(path.read_text()) for path in files}


def _seed(root: Path, wanted: Mapping[str, Path]) -> dict[str, list[str]]:
    """Copy the golden folder that saves most of the import, or was used last; return its images."""
    held = _held()
    if not held:
        return {}

    def spared(folder: Path) -> int:
        whole = sum(archive.stat().st_size for name, archive in wanted.items() if name in held[folder])
        layouts = [archive for archive in wanted.values() if archive.is_dir()]
        store = _content(folder / "root")
        blobs = (blob for layout in layouts for blob in _blobs(layout) if (store / blob.name).exists())
        return whole + sum(blob.stat().st_size for blob in blobs)

    best = max(held, key=lambda folder: (spared(folder), (folder / "used").stat().st_mtime))
    _clone(best / "root", root)
    return held[best]


def _content(root: Path) -> Path:
    """Return the folder of blobs in a containerd root."""
    return root / "io.containerd.content.v1.content" / "blobs" / "sha256"


def _forget_outdated(current: Path) -> None:
    """Delete folders with another build of an image in ``current``, and all but the few that were used last."""
    held = _held()
    newest = {reference: name for name, references in held[current].items() for reference in references}
    by_use = sorted(held, key=lambda folder: -(folder / "used").stat().st_mtime)
    for place, folder in enumerate(by_use):
        images = {reference: name for name, references in held[folder].items() for reference in references}
        outdated = any(newest.get(reference, name) != name for reference, name in images.items())
        if folder != current and (outdated or place >= _GOLDEN_KEPT):
            shutil.rmtree(folder)


@contextmanager
def _containerd(root: Path) -> Iterator[list[str]]:
    """Run a containerd that only stores images for the duration of the block; yield the command prefix for it."""
    with tempfile.TemporaryDirectory(prefix="evalrun-golden-") as name:
        folder = Path(name)
        config, address = folder / "config.toml", folder / "containerd.sock"
        config.write_text(
            f'version = 2\nroot = "{root}"\nstate = "{folder / "state"}"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "{address}"\n'
        )
        command = ["containerd", "--config", str(config)]
        daemon = Daemon("containerd", lambda: command, folder / "log", folder / "pid")
        daemon.start()
        ctr = ["ctr", "--address", str(address), "--connect-timeout", "20s"]
        try:
            run(*ctr, "version")
            yield ctr
        except ClusterError as error:
            raise ClusterError(f"{error}\n{daemon.tail()}") from error
        finally:
            daemon.terminate()


def _layer(content: Files) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folders = {str(parent) for path in (*content.files, *content.links) for parent in Path(path).parents}
        for folder in sorted(folders | set(content.folders)):
            if folder != ".":
                info = tarfile.TarInfo(folder)
                info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
                tar.addfile(info)
        for path, source in sorted(content.files.items()):
            _add(tar, path, source.read_bytes(), 0o755)
        for path, target in sorted(content.links.items()):
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))
