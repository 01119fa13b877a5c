"""Health of the operator for the kubelet: whether it works, not merely runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from evalrun_operator.election import Election
from evalrun_operator.kube.workqueue import WorkQueue
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.resync import Resync

STALLED = 3
"""Resync periods after which the operator counts as stalled."""


@dataclass(frozen=True)
class Health:
    """The health of the whole operator."""

    queue: WorkQueue[Key]
    resync: Resync
    election: Election | None = None
    """None: there is only this operator."""

    def problems(self) -> Iterator[str]:
        """Yield the reasons why only a new process would help; there are none for one that stands by."""
        if self.standing_by:
            return
        limit = STALLED * self.resync.period
        if self.resync.silent is not None:
            yield self.resync.silent
        if (stalled := self.queue.stalled()) > limit:
            yield f"{len(self.queue)} runs are due and none was reconciled for {stalled:.0f} s"
        since = self.resync.failing_since
        if since is not None and (failing := asyncio.get_running_loop().time() - since) > limit:
            yield f"the API server has refused the resync for {failing:.0f} s"

    @property
    def standing_by(self) -> bool:
        """Whether another operator leads."""
        return self.election is not None and not self.election.leads

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of both probes."""
        return [web.get("/healthz", self.healthz), web.get("/readyz", self.readyz)]

    async def healthz(self, _: web.Request) -> web.Response:
        """Answer 500 if a restart is needed."""
        return _answer(list(self.problems()))

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer 500 until the first resync has succeeded or, while another operator leads, until this one could.

        Namespaces that are refused are named, and do not make it unready: another process would be refused as well.
        """
        if self.election is not None and self.standing_by:
            return _answer([] if self.election.heard else ["the Lease could not be read"])
        refused = self.resync.refused.problems()
        details = [f"namespace {namespace} is refused: {words}" for namespace, words in refused.items()]
        return _answer([] if self.resync.ready else ["the first resync is not done"], details)


def _answer(problems: list[str], details: list[str] | None = None) -> web.Response:
    lines = [*(problems or ["ok"]), *(details or [])]
    return web.Response(status=500 if problems else 200, text="\n".join(lines) + "\n")
