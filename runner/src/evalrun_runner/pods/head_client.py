"""A replica's pod asks its driver what to do: a long poll in a thread, the last answer for whoever looks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlencode

from evalrun_api.wire.pods import HTTP_PORT
from evalrun_api.wire.runprogress import Head

WAIT_SECONDS = 25
"""How long the driver may hold a question back."""
ANSWER_SECONDS = 10.0
"""For a connection, and for an answer beyond the wait."""
RETRY_SECONDS = 1.0
GOODBYE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a driver said, and the address it said it from: a Service's name may stand for two of them for a while."""

    head: Head
    address: str


class Follower:
    """Asks all the time, from ``start`` on. Needs nothing but the standard library, and no proxy stands between."""

    def __init__(self, host: str, pod: str) -> None:
        self._host = host
        self._pod = pod
        self._answer: Answer | None = None
        self._heard = time.monotonic()
        self._why = "it was not asked yet"
        self.news = threading.Event()
        """Set whenever there may be something new; whoever looks clears it."""

    def start(self) -> None:
        """Ask from now on; the silence is counted from now."""
        self._heard = time.monotonic()
        threading.Thread(target=self._follow, name="following", daemon=True).start()

    @property
    def answer(self) -> Answer | None:
        """The last answer; None where the last question had none."""
        return self._answer

    @property
    def silence(self) -> float:
        """Seconds since a driver answered."""
        return time.monotonic() - self._heard

    @property
    def why(self) -> str:
        """Why the last question had no answer, for people."""
        return self._why

    def say_goodbye(self) -> None:
        """Tell the driver, if it is there, that this pod leaves: it need not be told the end."""
        try:
            self._ask(GOODBYE_SECONDS, leaving="1")
        except (OSError, HTTPException, ValueError) as error:
            self._why = f"{type(error).__name__}: {error}"

    def _follow(self) -> None:
        while True:
            known = "" if self._answer is None else self._answer.head.state.value
            try:
                answer: Answer | None = self._ask(ANSWER_SECONDS, known=known, wait=str(WAIT_SECONDS))
            # What is no Head is another server's answer, or half of one.
            except (OSError, HTTPException, ValueError) as error:
                answer, self._why = None, f"{type(error).__name__}: {error}"
            if answer is not None:
                self._heard = time.monotonic()
            changed, self._answer = answer != self._answer, answer
            if changed:
                self.news.set()
            if answer is None:
                time.sleep(RETRY_SECONDS)

    def _ask(self, seconds: float, **question: str) -> Answer:
        """``seconds`` for the connection, and for the answer beyond what the question waits."""
        connection = HTTPConnection(self._host, HTTP_PORT, timeout=seconds)
        try:
            connection.connect()
            connection.sock.settimeout(float(question.get("wait", "0")) + seconds)
            address = connection.sock.getpeername()[0]
            connection.request("GET", f"/head?{urlencode({'pod': self._pod, **question})}")
            return Answer(Head.from_json(connection.getresponse().read()), address)
        finally:
            connection.close()
