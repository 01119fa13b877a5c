"""Client that asks the driver what a replica's pod should do, by a long poll in a thread."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode

from evalrun_api import Head
from evalrun_api.wire.pods import HTTP_PORT

WAIT_SECONDS = 25
"""Seconds for which the driver may delay its answer."""
ANSWER_SECONDS = 10.0
"""Timeout in seconds for a connection, and for an answer beyond the delay."""
RETRY_SECONDS = 1.0
GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class HeadAnswer:
    """Answer of a driver, with its address, because a Service's name may refer to two drivers for a while."""

    head: Head
    address: str


class HeadClient:
    """Client that polls the driver continuously after ``start``. Uses only the standard library, and no proxy."""

    def __init__(self, host: str, pod: str) -> None:
        self._host = host
        self._pod = pod
        self._answer: HeadAnswer | None = None
        self._answered = time.monotonic()
        self._why = "it was not asked yet"
        self._heard = False
        self.news = threading.Event()
        """Event that is set when there may be a new answer; the reader clears it."""

    def start(self) -> None:
        """Start to poll, and count the silence from now."""
        self._answered = time.monotonic()
        threading.Thread(target=self._poll, name="head-client", daemon=True).start()

    @property
    def answer(self) -> HeadAnswer | None:
        """Last answer; None if the last question had none."""
        return self._answer

    @property
    def silence(self) -> float:
        """Seconds since a driver answered."""
        return time.monotonic() - self._answered

    @property
    def heard(self) -> bool:
        """Whether a driver has ever answered."""
        return self._heard

    @property
    def why(self) -> str:
        """Reason for people why the last question had no answer."""
        return self._why

    def say_goodbye(self) -> None:
        """Tell the driver, if it answers, that this pod leaves and need not receive the end of the run."""
        try:
            self._ask(GOODBYE_SECONDS, leaving="1")
        except (OSError, HTTPException, ValueError) as error:
            self._why = f"{type(error).__name__}: {error}"

    def _poll(self) -> None:
        while True:
            known = "" if self._answer is None else self._answer.head.state.value
            try:
                answer: HeadAnswer | None = self._ask(ANSWER_SECONDS, known=known, wait=str(WAIT_SECONDS))
            # A body that is not a Head is from another server, or truncated.
            except (OSError, HTTPException, ValueError) as error:
                answer, self._why = None, f"{type(error).__name__}: {error}"
            if answer is not None:
                self._answered, self._heard = time.monotonic(), True
            changed, self._answer = answer != self._answer, answer
            if changed:
                self.news.set()
            if answer is None:
                time.sleep(RETRY_SECONDS)

    def _ask(self, seconds: float, **question: str) -> HeadAnswer:
        """Ask once, with a timeout of ``seconds`` for the connection, and for the answer beyond the question's wait."""
        connection = HTTPConnection(self._host, HTTP_PORT, timeout=seconds)
        try:
            connection.connect()
            connection.sock.settimeout(float(question.get("wait", "0")) + seconds)
            address = connection.sock.getpeername()[0]
            connection.request("GET", f"/head?{urlencode({'pod': self._pod, **question})}")
            return HeadAnswer(Head.from_json(connection.getresponse().read()), address)
        finally:
            connection.close()
