"""Request for a driver's progress: a pod runs what users chose, so its answer is not trusted."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web

from evalrun_api import Phase, RunProgress
from evalrun_operator.observe.progress import ask_progress

GOOD = RunProgress(phase=Phase.RUNNING, replicas_ready=2)


def ask(answer: web.Response, seconds: float = 0.0, answer_seconds: float = 30.0) -> RunProgress | None:
    async def run() -> RunProgress | None:
        async def handle(_: web.Request) -> web.Response:
            await asyncio.sleep(seconds)
            return answer

        app = web.Application()
        app.router.add_get("/progress", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                port = runner.addresses[0][1]
                return await ask_progress(session, "127.0.0.1", port, answer_seconds=answer_seconds)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_progress_of_an_answering_driver_is_parsed() -> None:
    assert ask(web.Response(text=GOOD.to_json())) == GOOD


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=503),
        web.Response(text="no JSON"),
        web.Response(text='{"phase": "Dreaming"}'),
        web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}),
        web.Response(text=GOOD.to_json()[:-1] + ', "note": "' + "x" * 100_000 + '"}'),
    ],
    ids=["an error", "no JSON", "an unknown phase", "a redirect", "too much"],
)
def test_invalid_answer_gives_none(answer: web.Response) -> None:
    assert ask(answer) is None


def test_hanging_or_missing_driver_gives_none() -> None:
    assert ask(web.Response(text=GOOD.to_json()), seconds=1.0, answer_seconds=0.1) is None

    async def nobody() -> RunProgress | None:
        async with aiohttp.ClientSession() as session:
            return await ask_progress(session, "127.0.0.1", 1)

    assert asyncio.run(nobody()) is None
