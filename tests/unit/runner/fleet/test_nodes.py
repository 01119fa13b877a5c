"""Which node has a replica: one each, as nodes come and go."""

from __future__ import annotations

import socket

from evalrun_runner.fleet.nodes import Node, Nodes

A, B, C = (Node(name, "10.0.0.1", 6380) for name in "abc")


def test_a_node_is_new_once_and_its_replica_departs_with_it() -> None:
    nodes = Nodes()
    assert nodes.update([A, B]) == ([A, B], [])
    nodes.assign(A, "r0")
    nodes.assign(B, "r1")
    assert nodes.update([A, B, C]) == ([C], [])
    assert nodes.update([B, C]) == ([], ["r0"])
    assert nodes.update([B, C]) == ([], []), "it is lost once"
    assert (nodes.of("r0"), nodes.of("r1")) == (None, B)


def test_a_crash_leaves_a_vacancy_and_a_drain_does_not() -> None:
    nodes = Nodes()
    nodes.update([A, B])
    assert nodes.vacant() is A
    nodes.assign(A, "r0")
    nodes.assign(B, "r1")
    assert nodes.vacant() is None
    nodes.vacate("r1")
    assert nodes.vacant() is B
    nodes.release("r0")
    nodes.assign(B, "r2")
    assert nodes.vacant() is None, "a node that is on its way out gets no replica"
    nodes.update([B])
    assert nodes.update([A, B]) == ([A], []), "what comes back comes as new"
    assert nodes.vacant() is A


def test_a_node_whose_replica_was_lost_waits_until_it_answers_again() -> None:
    nodes = Nodes()
    nodes.update([A, B])
    nodes.assign(A, "r0")
    nodes.assign(B, "r1")
    nodes.lose("r0")
    assert (nodes.vacant(), nodes.silent()) == (None, [A])
    nodes.assign(A, "r2")
    assert (nodes.vacant(), nodes.silent()) == (None, [])
    nodes.lose("r1")
    nodes.update([A])
    assert nodes.silent() == [], "Ray has found out by itself"


def test_a_node_answers_while_its_raylet_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as raylet:
        node = Node("a", *raylet.getsockname()[:2])
        assert node.answers()
    assert not node.answers()
