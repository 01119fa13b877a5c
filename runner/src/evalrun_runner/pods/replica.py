"""``evalrun-replica``: a replica's pod. Ray is its child; the driver says over HTTP when to join and when to leave.

Exit codes: 0 the driver said done, or there was none for 90 s; 143 on SIGTERM, after what is complete was committed;
1 anything else. The replica itself is an actor that the driver starts on this pod's Ray node.
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
from evalrun_runner.pods.head_client import Answer, Follower
from evalrun_runner.pods.log import say
from evalrun_runner.pods.replica_policy import LASTING_SECONDS, Act, Seen, decide

LOOK_SECONDS = 0.25
DRAIN_SECONDS = 40.0
"""For a replica to commit what is complete; with Ray's end this stays below the pod's grace."""
PARTING_SECONDS = 10.0
"""The same where its driver is gone: what it still commits is kept by the next one, which waits for this pod."""


class ReplicaPod:
    """Takes the acts of ``deciding`` until one of them is to leave."""

    def __init__(self, environment: PodEnvironment, follower: Follower, stop: threading.Event) -> None:
        self._environment = environment
        self._follower = follower
        self._stop = stop
        self._node: RayNode | None = None
        self._joined: str | None = None
        self._since = 0.0
        """When the node was started."""
        self._starts = 0
        self._parted = -1e9

    def run(self) -> ExitCode:
        """Until the end."""
        while not self._stop.is_set():
            answer = self._follower.answer
            match decide(self._look(answer)):
                case Act.JOIN if answer is not None:
                    self._join(answer)
                case Act.PART:
                    self._part()
                case Act.LEAVE:
                    return self._leave(answer)
                case Act.FAIL:
                    say(f"Ray ended {self._starts} times in a row beside a driver that is there: this pod gives up")
                    return ExitCode.FAILED
                case _:
                    self._wait()
        self._drain(DRAIN_SECONDS)
        self._end()
        self._follower.say_goodbye()
        say("stopped as asked")
        return ExitCode.STOPPED

    def _look(self, answer: Answer | None) -> Seen:
        return Seen(
            head=None if answer is None else answer.head,
            silence=self._follower.silence,
            joined=self._joined,
            ended=self._node is not None and self._node.exit_code is not None,
            starts=self._starts,
            parted=time.monotonic() - self._parted,
        )

    def _wait(self) -> None:
        self._follower.news.wait(LOOK_SECONDS)
        self._follower.news.clear()

    def _join(self, answer: Answer) -> None:
        say(f"joining driver {answer.head.instance} at {answer.address}")
        self._joined, self._since = answer.head.instance, time.monotonic()
        self._node = RayNode(replica_command(self._environment.address, answer.address), alone=True)

    def _part(self) -> None:
        node, answer = self._node, self._follower.answer
        assert node is not None, "a pod parts from what it has joined"
        if (code := node.exit_code) is None:
            say(f"another driver answers: parting from {self._joined}")
            self._drain(PARTING_SECONDS)
            self._starts = 0
        else:
            say(f"Ray ended by itself with {code}\n{node.output()}")
            lasted = time.monotonic() - self._since > LASTING_SECONDS
            same = answer is not None and answer.head.instance == self._joined
            self._starts = int(same) if lasted else self._starts + same
        self._end()

    def _leave(self, answer: Answer | None) -> ExitCode:
        if answer is None:
            say(f"no driver for {NO_HEAD_SECONDS} s ({self._follower.why}): leaving, so that no GPU waits for it")
        else:
            say("the driver says that all is done: leaving")
        self._end()
        return ExitCode.DONE

    def _drain(self, seconds: float) -> None:
        """Let the replica commit what is complete and give the rest back."""
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
        self._node, self._joined, self._parted = None, None, time.monotonic()


def main() -> None:
    """Entry point."""
    environment = PodEnvironment.read()
    if not environment.head:
        say(f"{Environment.HEAD} is not set: expected the host name of the driver's Service")
        sys.exit(ExitCode.FAILED)
    stop = threading.Event()
    follower = Follower(environment.head, environment.pod)

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        follower.news.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    adopt_orphans()
    say(f"pod {environment.pod} ({environment.address}) looks for its driver at {environment.head}")
    follower.start()
    code = ReplicaPod(environment, follower, stop).run()
    # Threads that ask the driver once more are not waited for.
    os._exit(code)
