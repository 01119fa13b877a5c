"""Programs of the test cluster, built once from pinned Go modules and kept in the user's cache.

Kubernetes, etcd and kubectl are one binary with many names (``build/kube``); CoreDNS, Helm and kwok are one each;
Prometheus comes with promtool. Versions are pinned by ``build/<part>/go.mod`` and ``go.sum`` alone; a result is stored
under the hash of its inputs.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cluster.errors import ClusterError

BUILD = Path(__file__).parent / "build"


@dataclass(frozen=True)
class Program:
    """Go program: the folder of its go.mod, the package to build, and further names for the binary.

    ``package`` may be a pattern for several packages; ``tags`` are Go's build tags.
    """

    name: str
    package: str = "."
    aliases: tuple[str, ...] = ()
    tags: str = field(default="", repr=False)


KUBE = Program("kube", aliases=("kubectl",))
COREDNS = Program("coredns")
HELM = Program("helm", package="helm.sh/helm/v4/cmd/helm")
KWOK = Program("kwok", package="sigs.k8s.io/kwok/cmd/kwok")
PAUSE = Program("pause")
# Only the discovery by Kubernetes, files and HTTP is built: that of the clouds is most of the code to compile.
PROMETHEUS = Program(
    "prometheus", package="github.com/prometheus/prometheus/cmd/...", tags="remove_all_sd,enable_kubernetes_sd"
)
PROGRAMS = (KUBE, COREDNS, HELM, PAUSE, PROMETHEUS)
"""Programs that most tests with a cluster need; kwok is built by the first test that uses it."""


def cache() -> Path:
    """Return the folder of everything that is kept between runs: ``$XDG_CACHE_HOME/evalrun/cluster``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "evalrun" / "cluster"


def kubernetes_version() -> str:
    """Return ``v1.N.P`` as ``build/kube/go.mod`` pins it, the only place that states the version."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (BUILD / "kube" / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise ClusterError("tests/cluster/build/kube/go.mod does not require k8s.io/kubernetes")
    return found[1]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Lock against all other processes of this user: builds are slow and shared."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def binary(program: Program) -> Path:
    """Return the path of the program; build it first if necessary (minutes).

    Raises:
        ClusterError: Go is not installed, or the build failed; the message includes the compiler's.
    """
    if (found := built(program)) is not None:
        return found
    folder = cache() / _key(program)
    with locked(f"build-{program.name}"):
        if built(program) is None:
            _build(program, folder)
    return folder / program.name


def built(program: Program) -> Path | None:
    """Return the path of the program, or None if it is not built."""
    path = cache() / _key(program) / program.name
    return path if path.exists() else None


def _flags() -> str:
    version = kubernetes_version()
    _, minor, _ = version.split(".")
    at = "k8s.io/component-base/version"
    return f"-s -w -X {at}.gitVersion={version} -X {at}.gitMajor=1 -X {at}.gitMinor={minor}"


def _key(program: Program) -> str:
    digest = hashlib.sha256(f"{program} {_flags()}{program.tags}".encode())
    for file in sorted((BUILD / program.name).iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{program.name}-{digest.hexdigest()[:12]}"


def go() -> str:
    """Find the Go compiler on the PATH, or where its installer puts it."""
    found = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if found is None:
        raise ClusterError(
            "the test cluster is built from source and there is no Go compiler: install Go 1.26 or later "
            "(https://go.dev/doc/install) so that `go` is on the PATH"
        )
    return found


def _build(program: Program, folder: Path) -> None:
    print(f"cluster: building {program.name} (once; minutes)", file=sys.stderr, flush=True)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    flags = ("-trimpath", "-tags", program.tags, "-ldflags", _flags())
    done = subprocess.run(
        ["nice", go(), "build", *flags, "-o", f"{partial}/", program.package],
        cwd=BUILD / program.name,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ClusterError(f"building {program.name} failed:\n{done.stderr[-4000:]}")
    for alias in program.aliases:
        (partial / alias).symlink_to(program.name)
    partial.replace(folder)


_NODE_TOOLS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
CNI_PLUGINS = Path("/usr/lib/cni")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing_for(program: Program) -> str | None:
    """Say in one sentence why this machine cannot run the program; None if it is built or can be."""
    try:
        go()
    except ClusterError as error:
        if built(program) is None:
            return str(error)
    return None


def missing_for_control_plane() -> str | None:
    """Say in one sentence why this machine cannot run a control plane; None if it can."""
    if shutil.which("openssl") is None:
        return "a test control plane needs openssl; on Debian: apt-get install openssl"
    return missing_for(KUBE)


def missing_for_nodes() -> str | None:
    """Say in one sentence, with every missing package, why this machine cannot run nodes; None if it can."""
    if (reason := missing_for_control_plane()) is not None:
        return reason
    if sys.platform != "linux" or os.geteuid() != 0:
        return "test nodes are Linux namespaces and cgroups, which only root can make (or use CLUSTER=kind with Docker)"
    packages = {package for tool, package in _NODE_TOOLS.items() if shutil.which(tool, path=_PATH) is None}
    if not (CNI_PLUGINS / "ptp").exists():
        packages.add("containernetworking-plugins")
    if packages:
        return f"test nodes need Debian's packages {' '.join(sorted(packages))}: run tests/cluster/install.sh as root"
    return None
