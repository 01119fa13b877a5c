"""What Prometheus asks for."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web

from evalrun_operator.metrics.exposition import CONTENT_TYPE, Exposition

logger = logging.getLogger(__name__)


def routes(exposition: Exposition) -> list[web.RouteDef]:
    """``/metrics``."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await _stream(request, exposition)

    return [web.get("/metrics", metrics)]


async def _stream(request: web.Request, exposition: Exposition) -> web.StreamResponse:
    """Piece by piece: a page may have tens of megabytes, and others want the event loop, too."""
    response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE})
    try:
        await response.prepare(request)
        for piece in exposition.pieces():
            await response.write(piece)
            # A write to one who reads fast enough gives way to nobody.
            await asyncio.sleep(0)
    except ConnectionError as error:
        logger.debug("a scrape was broken off: %s", error)
    return response
