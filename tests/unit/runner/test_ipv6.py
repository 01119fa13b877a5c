"""Pods that have IPv6 addresses only: everything listens, joins and answers, with brackets where URLs need them."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from collections.abc import Iterator

import aiohttp
import pytest

from evalrun_api import RunConfig
from evalrun_api.addresses import join_host_port
from evalrun_operator.observe.progress import ask_progress
from evalrun_runner.fleet.ray_node import head_command, replica_command
from evalrun_runner.pods import head_client
from evalrun_runner.pods.environment import PodEnvironment
from evalrun_runner.pods.head_client import HeadClient
from evalrun_runner.serving.endpoint import Endpoint
from evalrun_runner.serving.head import HeadStatus
from support.operator_backend_cases import created, mock

pytestmark = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def endpoint() -> Iterator[tuple[Endpoint, int]]:
    """Provide the endpoint of a driver's pod, and its port."""
    config = RunConfig.from_json(created(mock())["ConfigMap"]["data"]["run.json"])
    served = Endpoint(config, 0, "", head_status=HeadStatus())
    port = int(served.start().rpartition(":")[2])
    yield served, port
    served.stop()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_c14_a_driver_answers_on_every_family(endpoint: tuple[Endpoint, int], address: str) -> None:
    _, port = endpoint
    with urllib.request.urlopen(f"http://{join_host_port(address, port)}/healthz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_c14_the_operator_asks_a_driver_of_either_family(endpoint: tuple[Endpoint, int], address: str) -> None:
    async def ask() -> object:
        async with aiohttp.ClientSession() as session:
            return await ask_progress(session, address, endpoint[1])

    assert asyncio.run(ask()) is not None


def test_c14_a_replica_finds_its_driver_and_joins_its_ray(
    endpoint: tuple[Endpoint, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_client, "HTTP_PORT", endpoint[1])
    client = HeadClient("::1", "pod")
    client.start()
    assert client.news.wait(10)
    assert client.answer is not None
    assert client.answer.address == "::1"
    assert "--address=[::1]:6379" in replica_command("fd00::2", client.answer.address)


def test_c14_rays_addresses_have_brackets_where_a_port_follows() -> None:
    assert "--address=[fd00::1]:6379" in replica_command("fd00::2", "fd00::1")
    assert "--address=10.0.0.1:6379" in replica_command("10.0.0.2", "10.0.0.1")
    for command in (head_command("fd00::1"), replica_command("fd00::1", "fd00::2")):
        assert "--node-ip-address=fd00::1" in command
    assert join_host_port("fd00::1", 6379) == "[fd00::1]:6379"
    assert join_host_port("host", 6379) == "host:6379"


def test_c14_a_host_name_without_ipv4_is_an_address_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::7", 0, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert PodEnvironment.read({}).address == "fd00::7"


def test_the_url_of_one_address_is_a_url() -> None:
    config = RunConfig.from_json(created(mock())["ConfigMap"]["data"]["run.json"])
    served = Endpoint(config, 0, "::1")
    assert served.start().startswith("http://[::1]:")
    served.stop()
