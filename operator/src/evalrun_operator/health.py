"""What the operator answers over HTTP: to the kubelet whether it works, not merely runs; to Prometheus its metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from evalrun_operator.metrics.exposition import CONTENT_TYPE, Exposition
from evalrun_operator.observe import Key
from evalrun_operator.resync import Resync
from evalrun_operator.workqueue import WorkQueue

logger = logging.getLogger(__name__)

STALLED = 3
"""Of the resync's periods."""


@dataclass(frozen=True)
class Health:
    """Answers for the whole operator."""

    queue: WorkQueue[Key]
    resync: Resync

    def problems(self) -> Iterator[str]:
        """Why only a new process would help."""
        limit = STALLED * self.resync.period
        if self.resync.silent is not None:
            yield self.resync.silent
        if (stalled := self.queue.stalled()) > limit:
            yield f"{len(self.queue)} runs are due and none was reconciled for {stalled:.0f} s"
        since = self.resync.failing_since
        if since is not None and (failing := asyncio.get_running_loop().time() - since) > limit:
            yield f"the API server has refused the resync for {failing:.0f} s"

    async def healthz(self, _: web.Request) -> web.Response:
        """500 if a restart is needed."""
        return _answer(list(self.problems()))

    async def readyz(self, _: web.Request) -> web.Response:
        """500 until everything has been seen once."""
        return _answer([] if self.resync.ready else ["the first resync is not done"])


@asynccontextmanager
async def serve(health: Health, exposition: Exposition, port: int) -> AsyncIterator[int]:
    """Serve /healthz, /readyz and /metrics; gives the port, which the system chooses for 0."""

    async def metrics(request: web.Request) -> web.StreamResponse:
        return await _stream(request, exposition)

    app = web.Application()
    app.add_routes(
        [web.get("/healthz", health.healthz), web.get("/readyz", health.readyz), web.get("/metrics", metrics)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


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


def _answer(problems: list[str]) -> web.Response:
    return web.Response(status=500 if problems else 200, text="\n".join(problems or ["ok"]) + "\n")
