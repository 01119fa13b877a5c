"""Images without a registry: written here or built elsewhere, imported once, given to every node by hard links.

A *golden* folder is a containerd root into which archives were imported. A node's root is a copy of hard links of it:
committed layers are never written to, so only containerd's two databases are really copied. That takes a quarter of a
second and no room, where an import takes minutes.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.binaries import PAUSE, binary, cache, locked
from cluster.errors import ClusterError
from cluster.process import Daemon, run

PAUSE_IMAGE = "localhost/evalrun-test/pause:1"
BUSYBOX_IMAGE = "localhost/evalrun-test/busybox:1"
_IMPORT_S = 1800.0
_GOLDEN_KEPT = 4
_IMAGES = ("-n", "k8s.io", "images")
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Files:
    """What is in an image that is written here: files by path, links by path, and its configuration."""

    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    config: Mapping[str, object] = field(default_factory=dict)


def write_image(reference: str, content: Files) -> Path:
    """An OCI archive of one layer, kept in the cache under the hash of its content."""
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
    """The image of the process that holds a pod's namespaces."""
    return write_image(PAUSE_IMAGE, Files({"pause": binary(PAUSE)}, config={"Entrypoint": ["/pause"]}))


def busybox_image() -> Path:
    """A shell and the usual tools in two megabytes, for the pods of tests.

    Debian's static ``wget`` dies of its option -T; the rest is sound.

    Raises:
        ClusterError: Debian's package busybox-static is not here.
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
    """What is in an image archive or layout: the hash of its table of contents, which names every layer by its hash.

    Raises:
        ClusterError: It is no OCI or Docker archive, nor an OCI layout.
    """
    if (archive / "index.json").is_file():
        return hashlib.sha256((archive / "index.json").read_bytes()).hexdigest()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.name.removeprefix("./") in ("index.json", "manifest.json"):
                    data = tar.extractfile(member)
                    assert data is not None
                    return hashlib.sha256(data.read()).hexdigest()
    except (OSError, tarfile.TarError) as error:
        raise ClusterError(f"the image archive {archive} cannot be read: {error}") from error
    raise ClusterError(f"{archive} is neither an OCI nor a Docker image archive: it has no index.json or manifest.json")


def golden(archives: Sequence[Path]) -> Path:
    """The containerd root with exactly these images; imports what no earlier one holds: minutes for gigabytes."""
    wanted = {identity(archive): archive for archive in archives}
    key = hashlib.sha256(json.dumps(sorted(wanted)).encode()).hexdigest()[:16]
    folder = _goldens() / key
    with locked("golden"):
        if not folder.exists():
            _make_golden(folder, wanted)
        (folder / "used").touch()
        _forget_old(keep=folder)
    return folder / "root"


def clone(source: Path, root: Path) -> None:
    """Make ``root`` a containerd root with the images of ``source``."""
    root.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "-al", source, root)
    for database in source.glob("io.containerd.*/*.db"):
        own = root / database.relative_to(source)
        own.unlink()
        shutil.copy2(database, own)


def _import(ctr: Sequence[str], archive: Path) -> None:
    """Import an archive, or of a layout the blobs that are not there yet: a layer of gigabytes is read once."""
    if archive.is_file():
        run(*ctr, *import_words(archive), deadline_s=_IMPORT_S)
        return
    held = run(*ctr, "-n", "k8s.io", "content", "ls", "-q").split()
    known = [f"--exclude=./blobs/sha256/{digest.removeprefix('sha256:')}" for digest in held]
    words = ["tar", "-C", str(archive), *known, "-cf", "-", "."]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as tar:
        done = subprocess.run(
            [*ctr, *_IMAGES, "import", "-"],
            stdin=tar.stdout,
            capture_output=True,
            text=True,
            timeout=_IMPORT_S,
            check=False,
        )
    if done.returncode or tar.returncode:
        raise ClusterError(f"the image in {archive} could not be imported: {done.stderr[-2000:]}")


def import_words(archive: Path) -> list[str]:
    """The words of ``ctr`` that import an archive."""
    return [*_IMAGES, "import", str(archive)]


def _references(ctr: Sequence[str]) -> dict[str, str]:
    """The digest of each image by its name."""
    lines = run(*ctr, *_IMAGES, "ls").splitlines()[1:]
    return {line.split()[0]: line.split()[2] for line in lines}


def _goldens() -> Path:
    return cache() / "golden"


def _make_golden(folder: Path, wanted: Mapping[str, Path]) -> None:
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    held = _seed(partial / "root", set(wanted))
    with _containerd(partial / "root") as ctr:
        now = {name: names for name, names in held.items() if name in wanted}
        for name in wanted.keys() - now.keys():
            before = _references(ctr)
            _import(ctr, wanted[name])
            now[name] = sorted(ref for ref, digest in _references(ctr).items() if before.get(ref) != digest)
        # Only now, so that what is new could share the layers of what it replaces.
        current = {ref for references in now.values() for ref in references}
        if unwanted := _references(ctr).keys() - current:
            run(*ctr, *_IMAGES, "rm", "--sync", *unwanted)
    (partial / "images.json").write_text(json.dumps(now))
    partial.replace(folder)


def _seed(root: Path, wanted: set[str]) -> dict[str, list[str]]:
    """Begin with the golden folder that shares most with what is wanted, or was used last; the images it holds."""
    earlier = [path for path in _goldens().glob("*/images.json") if not path.parent.name.endswith(".partial")]
    if not earlier:
        return {}

    def closeness(path: Path) -> tuple[int, float]:
        return len(wanted & json.loads(path.read_text()).keys()), path.with_name("used").stat().st_mtime

    best = max(earlier, key=closeness)
    clone(best.with_name("root"), root)
    held: dict[str, list[str]] = json.loads(best.read_text())
    return held


def _forget_old(keep: Path) -> None:
    folders = sorted(_goldens().glob("*/used"), key=lambda path: -path.stat().st_mtime)
    for path in folders[_GOLDEN_KEPT:]:
        if path.parent != keep:
            shutil.rmtree(path.parent)


@contextmanager
def _containerd(root: Path) -> Iterator[list[str]]:
    """A containerd that only keeps images, for as long as it is needed; the words that talk to it."""
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
