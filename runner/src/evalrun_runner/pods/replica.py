"""``evalrun-replica``, a replica's pod: Ray is its child, and the driver decides over HTTP when to join and leave.

Exit codes: 0 if the driver announced the end, or none answered for too long; 143 on SIGTERM, after complete results
were committed; 1 otherwise. The replica itself is an actor that the driver starts on this pod's Ray node.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import FrameType

from evalrun_api.wire.pods import NO_HEAD_SECONDS, Environment, ExitCode
from evalrun_runner.fleet.processes import adopt_orphans
from evalrun_runner.fleet.ray_node import RayNode, replica_command
from evalrun_runner.pods.environment import PodEnvironment
from evalrun_runner.pods.head_client import HeadAnswer, HeadClient
from evalrun_runner.pods.log import say
from evalrun_runner.pods.replica_policy import LASTING_SECONDS, Act, Observation, decide

LOOK_SECONDS = 0.25
DRAIN_SECONDS = 40.0
"""Maximum time in seconds for a replica to commit complete results; with Ray's end, it is below the pod's grace."""
DISCONNECT_SECONDS = 10.0
"""The same if its driver is gone: the next driver, which waits for this pod, reuses what the replica still commits."""


class ReplicaPod:
    """Replica's pod, which carries out the acts of ``replica_policy`` until the pod leaves."""

    def __init__(self, environment: PodEnvironment, client: HeadClient, stop: threading.Event) -> None:
        self._environment = environment
        self._client = client
        self._stop = stop
        self._node: RayNode | None = None
        self._joined: str | None = None
        self._since = 0.0
        """Time of the node's start."""
        self._starts = 0
        self._disconnected = -1e9

    def run(self) -> ExitCode:
        """Run until the end and return the exit code."""
        while not self._stop.is_set():
            answer = self._client.answer
            match decide(self._look(answer)):
                case Act.JOIN if answer is not None:
                    self._join(answer)
                case Act.DISCONNECT:
                    self._disconnect()
                case Act.LEAVE:
                    return self._leave(answer)
                case Act.FAIL:
                    say(f"Ray ended {self._starts} times in a row beside a driver that is there: this pod gives up")
                    return ExitCode.FAILED
                case _:
                    self._wait()
        self._drain(DRAIN_SECONDS)
        self._end()
        self._client.say_goodbye()
        say("stopped as asked")
        return ExitCode.STOPPED

    def _look(self, answer: HeadAnswer | None) -> Observation:
        return Observation(
            head=None if answer is None else answer.head,
            silence=self._client.silence,
            patience=self._patience,
            joined=self._joined,
            ended=self._node is not None and self._node.exit_code is not None,
            starts=self._starts,
            disconnected=time.monotonic() - self._disconnected,
        )

    @property
    def _patience(self) -> float:
        """Silence after which this pod leaves: a driver that was lost is made again sooner than a first one is made."""
        return NO_HEAD_SECONDS if self._client.heard else self._environment.first_head_seconds

    def _wait(self) -> None:
        self._client.news.wait(LOOK_SECONDS)
        self._client.news.clear()

    def _join(self, answer: HeadAnswer) -> None:
        say(f"joining driver {answer.head.instance} at {answer.address}")
        self._joined, self._since = answer.head.instance, time.monotonic()
        self._node = RayNode(replica_command(self._environment.address, answer.address), alone=True)

    def _disconnect(self) -> None:
        node, answer = self._node, self._client.answer
        assert node is not None, "only a pod that has joined disconnects"
        if (code := node.exit_code) is None:
            say(f"another driver answers: leaving {self._joined}")
            self._drain(DISCONNECT_SECONDS)
            self._starts = 0
        else:
            say(f"Ray ended by itself with {code}\n{node.output()}")
            lasted = time.monotonic() - self._since > LASTING_SECONDS
            same = answer is not None and answer.head.instance == self._joined
            self._starts = int(same) if lasted else self._starts + same
        self._end()

    def _leave(self, answer: HeadAnswer | None) -> ExitCode:
        if answer is None:
            say(f"no driver for {self._patience:g} s ({self._client.why}): leaving, so that no GPU waits for it")
        else:
            say("the driver says that all is done: leaving")
        self._end()
        return ExitCode.DONE

    def _drain(self, seconds: float) -> None:
        """Let the replica commit complete results and return its other leases."""
        if self._node is None or not self._node.draining.serving:
            return
        say("the replica commits what is complete")
        self._node.draining.ask()
        deadline = time.monotonic() + seconds
        while self._node.draining.serving and self._node.exit_code is None and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        say("the replica has left" if not self._node.draining.serving else f"the replica did not leave in {seconds} s")

    def _end(self) -> None:
        if self._node is not None:
            self._node.end()
        self._node, self._joined, self._disconnected = None, None, time.monotonic()


def main() -> None:
    """Run the replica's pod (entry point)."""
    environment = PodEnvironment.read()
    if not environment.head:
        say(f"{Environment.HEAD} is not set: expected the host name of the driver's Service")
        sys.exit(ExitCode.FAILED)
    stop = threading.Event()
    client = HeadClient(environment.head, environment.pod)

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        client.news.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    adopt_orphans()
    say(f"pod {environment.pod} ({environment.address}) looks for its driver at {environment.head}")
    client.start()
    code = ReplicaPod(environment, client, stop).run()
    # Do not wait for threads that ask the driver once more.
    os._exit(code)
