"""An operator in a pod that has an IPv6 address only."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from evalrun_api.addresses import join_host_port
from evalrun_operator.serving import serve

pytestmark = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


def free_port() -> int:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_c14_health_and_metrics_are_served_on_every_family(address: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def ask() -> str:
        async with (
            serve([web.get("/healthz", answer)], free_port()) as port,
            aiohttp.ClientSession() as session,
            session.get(f"http://{join_host_port(address, port)}/healthz") as response,
        ):
            return await response.text()

    assert asyncio.run(ask()) == "ok"
