"""Settings of a node's daemons, with a reason where it is not obvious."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from cluster.binaries import CNI_PLUGINS
from cluster.images import PAUSE_IMAGE
from cluster.state import NodeOptions

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
_EVICTION_MIB = 100


def containerd(root: Path, networks: Path) -> str:
    """Render the TOML of a containerd with its images in ``root`` and its pod networks in ``networks``."""
    # restrict_oom_score_adj: if root may not lower scores, runc cannot start the pause container without it.
    return f"""version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{networks}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def pod_network(pods: IPv4Network) -> dict[str, object]:
    """Render the network of a node's pods: links and routes; without a bridge all traffic passes kube-proxy."""
    addresses = {
        "type": "host-local",
        "ranges": [[{"subnet": str(pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    plugins: list[dict[str, object]] = [
        {"type": "ptp", "ipMasq": False, "ipam": addresses},
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": plugins}


def kubelet(group: str, dns: str, certificate: Path, authority: Path, options: NodeOptions) -> dict[str, object]:
    """Render the KubeletConfiguration of a node whose pods are in the control group ``group``.

    ``certificate`` is the path of its certificate and key without their suffixes.
    """
    reserved = max(0, _machine_mib() - options.memory_mib - _EVICTION_MIB)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "nodeLeaseDurationSeconds": options.lease_s,
        # It checks often, so that a reconnected node is soon Ready, and reports only changes.
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "5m",
        "failSwapOn": False,
        "clusterDNS": [dns],
        "clusterDomain": "cluster.local",
        "tlsCertFile": f"{certificate}.crt",
        "tlsPrivateKeyFile": f"{certificate}.key",
        "imageGCHighThresholdPercent": 100,  # a deleted image could not be pulled again
        "systemReserved": {"memory": f"{reserved}Mi"},
        "evictionHard": {"memory.available": f"{_EVICTION_MIB}Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    }


def _machine_mib() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemTotal:"))
