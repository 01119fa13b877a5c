"""Request for the progress of a driver."""

from __future__ import annotations

import logging

import aiohttp

from evalrun_api import RunProgress
from evalrun_api.addresses import join_host_port
from evalrun_api.wire.pods import HTTP_PORT
from evalrun_operator.observe.reports import progress_of

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
"""Timeout of the request; a busy driver is asked again later, and nothing waits for it."""
MAX_BYTES = 64 * 1024
"""Limit of the answer: a pod runs what users chose, so its answer may be of any size."""


async def ask_progress(
    session: aiohttp.ClientSession, address: str, port: int = HTTP_PORT, *, answer_seconds: float = ANSWER_SECONDS
) -> RunProgress | None:
    """Ask the driver at this address; return None if it does not answer in time, or not validly."""
    url = f"http://{join_host_port(address, port)}/progress"
    timeout = aiohttp.ClientTimeout(total=answer_seconds)
    try:
        # A redirect would let a pod choose the addresses that the operator contacts.
        async with session.get(url, timeout=timeout, allow_redirects=False) as response:
            if response.status != 200:
                return None
            text = await _read(response)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        logger.debug("the driver at %s does not answer: %r", address, error)
        return None
    progress = progress_of(text)
    if progress is None:
        logger.warning("the driver at %s answers with what is no progress of a run", address)
    return progress


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read the body up to the limit; a longer one is cut off, which makes it invalid."""
    text = b""
    async for piece in response.content.iter_any():
        text += piece
        if len(text) > MAX_BYTES:
            break
    return text[:MAX_BYTES]
