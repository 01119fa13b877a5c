"""The endpoint that Prometheus scrapes."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from evalrun_operator.metrics.exposition import CONTENT_TYPE, Exposition

logger = logging.getLogger(__name__)


def routes(exposition: Exposition) -> list[web.RouteDef]:
    """Return the route of ``/metrics``."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await _stream(request, exposition)

    return [web.get("/metrics", metrics)]


async def _stream(request: web.Request, exposition: Exposition) -> web.StreamResponse:
    """Stream the page piece by piece: it may have tens of megabytes, and the event loop has other work."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    try:
        await response.prepare(request)
        for piece in exposition.pieces():
            await response.write(piece)
            # A write to a fast reader does not yield to the event loop.
            await asyncio.sleep(0)
    except ConnectionError as error:
        logger.debug("a scrape was aborted: %s", error)
    return response
