"""Command line of the test cluster: ``python -m cluster up|down|status|shell|env`` (with ``PYTHONPATH=tests``)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cluster import seaweed
from cluster.binaries import HELM, KUBE, PROGRAMS, binary
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.process import environment
from cluster.state import known

_NAME = "play"


def main() -> int:
    """Carry out the command line; return 1 after printing a message if that is not possible."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.action(arguments) or 0)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    parser.add_argument("--name", default=_NAME, help="which cluster (%(default)s)")
    actions = parser.add_subparsers(required=True)
    up = actions.add_parser("up", help="start a cluster, which stays until it is taken down")
    up.add_argument("--nodes", type=int, default=3, help="how many; 0 for an API server alone (%(default)s)")
    up.add_argument("--gpus", type=int, default=2, help="nvidia.com/gpu of each node (%(default)s)")
    up.add_argument("--image", type=Path, action="append", default=[], help="an image for all nodes: archive or layout")
    up.add_argument("--store", type=Path, metavar="MODEL", help="an S3 in a pod, with a model's folder in it")
    up.set_defaults(action=_up)
    down = actions.add_parser("down", help="take it away; with --all every cluster of this user")
    down.add_argument("--all", action="store_true")
    down.set_defaults(action=_down)
    actions.add_parser("status", help="which clusters are up").set_defaults(action=_status)
    actions.add_parser("build", help="build its programs, if they are not there (once; ten minutes)").set_defaults(
        action=_build
    )
    actions.add_parser("env", help="what a shell evaluates to have its kubectl and helm").set_defaults(action=_env)
    shell = actions.add_parser("shell", help="a shell with kubectl; with --node on that node, as root")
    shell.add_argument("--node", help="node-0, node-1, …")
    shell.set_defaults(action=_shell)
    return parser


def _up(arguments: argparse.Namespace) -> None:
    images = [*arguments.image, *([seaweed.image()] if arguments.store else [])]
    made = Cluster(arguments.nodes, name=arguments.name, gpus=arguments.gpus, images=images, lasting=True)
    try:
        made.up()
        if arguments.store:
            _fill(seaweed.Seaweed(made), arguments.store)
    except BaseException:
        made.down()
        raise
    print(made.kubectl("get", "nodes"))
    print(_how_to(made))


def _fill(store: seaweed.Seaweed, model: Path) -> None:
    store.start()
    store.put_folder(model, "checkpoints", model.name)
    store.make_bucket("evals")
    print(f"S3: {store.endpoint} (from outside {store.outside}), key {store.key}, secret {store.secret}")


def _down(arguments: argparse.Namespace) -> None:
    for state in known():
        if arguments.all or state.name == arguments.name:
            Cluster.attach(state.name).down()
            print(f"{state.name} is gone")


def _status(_: argparse.Namespace) -> None:
    for state in known():
        attached = Cluster.attach(state.name)
        parts = {**attached.parts, **{d.name: d for node in attached.nodes for d in node.parts.values()}}
        print(f"{state.name}: {state.nodes} nodes, {state.endpoints.server}")
        print("  " + ", ".join(f"{name} {'runs' if part.alive else 'is off'}" for name, part in parts.items()))
        print(_how_to(attached))


def _build(_: argparse.Namespace) -> None:
    for program in PROGRAMS:
        binary(program)


def _env(arguments: argparse.Namespace) -> None:
    attached = Cluster.attach(arguments.name)
    print(f"export KUBECONFIG={attached.kubeconfig}")
    print(f"export PATH={binary(KUBE).parent}:{binary(HELM).parent}:$PATH")


def _shell(arguments: argparse.Namespace) -> None:
    attached = Cluster.attach(arguments.name)
    if arguments.node:
        words = attached.node(arguments.node).machine.shell()
        os.execvpe(words[0], words, environment())
    os.execvpe("bash", ["bash"], attached.environment())


def _how_to(cluster: Cluster) -> str:
    return (
        f"  export KUBECONFIG={cluster.kubeconfig}\n"
        f"  a shell:  PYTHONPATH=tests python -m cluster --name {cluster.state.name} shell [--node node-0]\n"
        f"  logs:     {cluster.logs}"
    )


if __name__ == "__main__":
    sys.exit(main())
