"""Settings of etcd, the API server, the controller manager, the scheduler and CoreDNS, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster import fake_nodes
from cluster.binaries import COREDNS, KUBE, KWOK, binary
from cluster.pki import Pki
from cluster.process import Daemon

ETCD, API_SERVER, CONTROLLER_MANAGER, SCHEDULER = "etcd", "apiserver", "controller-manager", "scheduler"
DNS, FAKES = "coredns", "kwok"
_KUBECONFIGS = {
    "admin": "/O=system:masters/CN=admin",
    CONTROLLER_MANAGER: "/CN=system:kube-controller-manager",
    SCHEDULER: "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}


@dataclass(frozen=True)
class Endpoints:
    """Addresses and ports of the parts of one control plane.

    ``address`` is the API server's, for everyone; ``pod_reachable`` is whether it can be the endpoint of the service
    ``kubernetes`` for pods, which a loopback address cannot.
    """

    address: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    services: str
    first_service: str
    pod_reachable: bool

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.api_port}"


@dataclass(frozen=True)
class Flags:
    """Further flags for three parts. They follow the library's own flags and override them."""

    apiserver: tuple[str, ...] = ()
    controller_manager: tuple[str, ...] = ()
    scheduler: tuple[str, ...] = ()


# A lost node is noticed after 10 s, not after 50 s.
FAST_NODE_MONITOR = ("--node-monitor-grace-period=10s", "--node-monitor-period=1s")


class ControlPlane:
    """Parts of a control plane in ``folder``; ``enter`` moves each into its namespace, all join ``cgroups``."""

    def __init__(
        self,
        folder: Path,
        endpoints: Endpoints,
        flags: Flags,
        enter: Callable[[], list[str]] = list,
        cgroups: tuple[Path, ...] = (),
    ) -> None:
        self.folder = folder
        self.endpoints = endpoints
        self.flags = flags
        self.pki = Pki(folder / "pki")
        commands = {
            ETCD: self._etcd,
            API_SERVER: self._apiserver,
            CONTROLLER_MANAGER: self._controller_manager,
            SCHEDULER: self._scheduler,
            DNS: self._dns,
            FAKES: self._fakes,
        }
        self.parts = {
            name: Daemon(name, command, folder / "log" / f"{name}.log", folder / "pid" / name, cgroups, enter)
            for name, command in commands.items()
        }

    def create(self) -> None:
        """Create certificates, kubeconfigs and folders."""
        for name in ("log", "pid"):
            (self.folder / name).mkdir(parents=True)
        self.pki.create()
        ends = self.endpoints
        names = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")
        addresses = ("127.0.0.1", ends.first_service, ends.address)
        alternatives = [f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses]
        self.pki.certificate(API_SERVER, "/CN=kube-apiserver", ",".join(alternatives))
        for name, subject in _KUBECONFIGS.items():
            self.pki.certificate(name, subject)
            self.pki.kubeconfig(name, ends.server)
        (self.folder / "Corefile").write_text(_corefile(ends.address, self._kubeconfig("admin")))

    def _kubeconfig(self, name: str) -> str:
        return str(self.pki.folder / f"{name}.kubeconfig")

    def _etcd(self) -> list[str]:
        client = f"http://127.0.0.1:{self.endpoints.etcd_port}"
        peer = f"http://127.0.0.1:{self.endpoints.etcd_peer_port}"
        return [
            *(str(binary(KUBE)), "etcd", f"--data-dir={self.folder / 'etcd'}"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # test data need not survive a crash of the machine
            "--log-level=warn",
        ]

    def _apiserver(self) -> list[str]:
        ends, pki = self.endpoints, self.pki.folder
        bound = (
            # The address that pods get for the `kubernetes` service.
            [f"--advertise-address={ends.address}", "--bind-address=0.0.0.0"]
            if ends.pod_reachable
            else ["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"]
        )
        return [
            *(str(binary(KUBE)), "apiserver", *bound),
            f"--secure-port={ends.api_port}",
            f"--etcd-servers=http://127.0.0.1:{ends.etcd_port}",
            f"--service-cluster-ip-range={ends.services}",
            f"--tls-cert-file={pki / f'{API_SERVER}.crt'}",
            f"--tls-private-key-file={pki / f'{API_SERVER}.key'}",
            f"--client-ca-file={self.pki.authority}",
            f"--kubelet-client-certificate={pki / 'admin.crt'}",
            f"--kubelet-client-key={pki / 'admin.key'}",
            f"--kubelet-certificate-authority={self.pki.authority}",
            "--kubelet-preferred-address-types=InternalIP",  # node names are in no DNS
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={pki / 'service-accounts.key'}",
            f"--service-account-signing-key-file={pki / 'service-accounts.key'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            *self.flags.apiserver,
        ]

    def _controller_manager(self) -> list[str]:
        return [
            *(str(binary(KUBE)), "controller-manager", f"--kubeconfig={self._kubeconfig(CONTROLLER_MANAGER)}"),
            f"--service-account-private-key-file={self.pki.folder / 'service-accounts.key'}",
            f"--root-ca-file={self.pki.authority}",
            "--use-service-account-credentials",
            "--leader-elect=false",
            "--secure-port=0",  # unused; clusters side by side would need the same port
            *FAST_NODE_MONITOR,
            *self.flags.controller_manager,
        ]

    def _scheduler(self) -> list[str]:
        return [
            *(str(binary(KUBE)), "scheduler", f"--kubeconfig={self._kubeconfig(SCHEDULER)}"),
            *("--leader-elect=false", "--secure-port=0"),
            *self.flags.scheduler,
        ]

    def _fakes(self) -> list[str]:
        return fake_nodes.command(binary(KWOK), Path(self._kubeconfig("admin")), self.folder / "stages.yaml")

    def _dns(self) -> list[str]:
        return [str(binary(COREDNS)), "-conf", str(self.folder / "Corefile")]


def _corefile(address: str, kubeconfig: str) -> str:
    return f""".:53 {{
  bind {address}
  errors
  ready {address}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig} test
    pods insecure
  }}
  cache 5
  template ANY ANY . {{
    rcode NXDOMAIN
  }}
}}
"""
