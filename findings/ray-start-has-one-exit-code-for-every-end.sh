#!/bin/sh
# Package: ray 2.60.0, `ray start --block`
#
# Behaviour: a worker node that is told to stop by SIGTERM, one whose head is gone, and one whose raylet was killed
# end with the same exit code, 1.
#
# What one would have guessed: 0 or 143 (128 + SIGTERM) after an orderly stop, which Ray even drains for, and
# another code where something broke.
#
# Why it matters: evaluation fleets run on preemptible GPUs, and Kubernetes decides by a container's exit code
# whether an end counts as a failure (a Job's podFailurePolicy and backoffLimit). With `ray start --block` as the
# container's command a drained node, a finished run and a crash look the same: a run that is preempted often
# uses up its retries, or one that crashes is retried for ever. A wrapper that notes which signal came and
# whether the head answered has to translate the code.
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
"$uv" pip install --quiet --python "$work/venv" ray==2.60.0 psutil==7.1.3
PATH="$work/venv/bin:$PATH" RAY_TMPDIR="$work" "$work/venv/bin/python" - <<'PYTHON'
import signal
import socket
import subprocess
import sys
import time

import psutil

COMMON = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--block"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Node:
    """One `ray start --block`, and the processes that it started."""

    def __init__(self, *options: str) -> None:
        command = ["ray", "start", "--node-ip-address=127.0.0.1", *COMMON, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            if "Ray runtime started" in line:
                return
        raise SystemExit("ray start did not come up")

    def raylet(self) -> psutil.Process:
        children = psutil.Process(self.process.pid).children(recursive=True)
        return next(child for child in children if child.name() == "raylet")

    def end(self) -> int:
        """Exit code, waited for."""
        return self.process.wait(timeout=180)

    def sweep(self) -> None:
        """End what is left of the node."""
        try:
            left = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for process in [*left, self.process]:
            process.kill()


port = free_port()
head = Node("--head", f"--port={port}", "--include-dashboard=false")
nodes = [head]
codes = {}
try:
    for what in ("SIGTERM, an orderly stop", "its raylet is killed", "its head is gone"):
        worker = Node(f"--address=127.0.0.1:{port}")
        nodes.append(worker)
        time.sleep(5)  # it joins the cluster
        if what.startswith("SIGTERM"):
            worker.process.send_signal(signal.SIGTERM)
        elif what.startswith("its raylet"):
            worker.raylet().kill()
        else:
            for process in psutil.Process(head.process.pid).children(recursive=True):
                process.kill()
        codes[what] = worker.end()
        print(f"{what:<26} exit code {codes[what]}", flush=True)
finally:
    for node in nodes:
        node.sweep()
sys.exit(0 if set(codes.values()) == {1} else "the ends of a node can be told apart by their exit codes")
PYTHON
