"""HTTP servers: one port per kind of client, so that a NetworkPolicy can tell them apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serve(routes: Iterable[web.RouteDef], port: int) -> AsyncIterator[int]:
    """Serve these routes; yield the port, which the system chooses for 0."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
