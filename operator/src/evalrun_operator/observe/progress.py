"""Asking a driver how far it is."""

from __future__ import annotations

import logging

import aiohttp
from pydantic import ValidationError

from evalrun_api import RunProgress
from evalrun_api.wire.pods import HTTP_PORT

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
"""A driver that is busy for longer is asked again; nothing waits for it."""
MAX_BYTES = 64 * 1024
"""A pod runs what users chose: its answer is not trusted to be small."""


async def ask_progress(session: aiohttp.ClientSession, address: str, port: int = HTTP_PORT) -> RunProgress | None:
    """What the driver at this address says; None if it does not answer, or not sensibly."""
    host = f"[{address}]" if ":" in address else address
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    try:
        # A redirect would lead the operator to addresses of a pod's choice.
        async with session.get(f"http://{host}:{port}/progress", timeout=timeout, allow_redirects=False) as response:
            if response.status != 200:
                return None
            text = await _read(response)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        logger.debug("the driver at %s does not answer: %r", address, error)
        return None
    try:
        return RunProgress.from_json(text)
    except ValidationError as error:
        logger.warning(
            "the driver at %s says what this operator cannot read: %d problems", address, error.error_count()
        )
        return None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, cut off where it is too long, so that it can be no sensible answer."""
    text = b""
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > MAX_BYTES:
            break
    return text[:MAX_BYTES]
