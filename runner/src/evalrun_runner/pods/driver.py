"""``evalrun-driver``, the driver's pod: serves progress, keeps Ray's head running, drives the run, reports its result.

Exit codes are ``evalrun_api.wire.pods.ExitCode``; the result is a RunResult in the termination message.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from functools import partial
from types import FrameType

from evalrun_api import RunConfig, RunProgress, RunResult
from evalrun_api.wire.pods import FLUSH_GRACE_SECONDS, HTTP_PORT, ExitCode, HeadState
from evalrun_runner.driver.cancellation import Cancellation
from evalrun_runner.driver.progress import StatusLines, View
from evalrun_runner.errors import Interrupted, RunFailed
from evalrun_runner.fleet.processes import adopt_orphans
from evalrun_runner.fleet.ray_fleet import RayFleet
from evalrun_runner.pods.ending import Ending, ending_of_error, ending_of_result
from evalrun_runner.pods.environment import PodEnvironment
from evalrun_runner.pods.log import say
from evalrun_runner.pods.ray_head import RayHead
from evalrun_runner.serving.endpoint import Endpoint
from evalrun_runner.serving.head import HeadStatus

INFORM_SECONDS = 10.0
"""Maximum time for the replicas' pods to receive that the run is done, in seconds."""
FLUSH_SECONDS = FLUSH_GRACE_SECONDS - 8.0
"""Time in seconds after SIGTERM until the process ends, even if it hangs."""
AT_ONCE_SECONDS = 10.0
"""The same if there is nothing to flush."""


class PodWatcher:
    """``Watcher`` that updates the endpoint and logs a line every ten seconds."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._lines = StatusLines(say)

    def log(self, line: str) -> None:
        """Log an event."""
        say(line)

    def show(self, view: View) -> None:
        """Show the newest view of the run."""
        self._endpoint.update(view)
        self._lines.show(view)


class DriverPod:
    """Driver process, from its configuration to its termination message."""

    def __init__(self, environment: PodEnvironment) -> None:
        self._environment = environment
        self._head_status = HeadStatus()
        self._config: RunConfig | None = None
        self._endpoint: Endpoint | None = None
        self._head: RayHead | None = None
        self._cancellation = Cancellation()
        self._ended = False

    def run(self) -> ExitCode:
        """Run until the end and return the exit code."""
        try:
            ending = ending_of_result(self._attempt())
        # The termination message reports any error to the cluster.
        except BaseException as error:  # noqa: BLE001
            ending = self._ending_of(error)
        self._ended = True
        self._last_words(ending)
        say(_summary(ending))
        if ending.over:
            self._head_status.announce(HeadState.DONE)
            if uninformed := self._head_status.wait_until_informed(INFORM_SECONDS):
                say(f"{uninformed} replicas' pods did not ask any more; they leave by themselves")
        if self._head is not None:
            self._head.end()
        return ending.code

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """SIGTERM: flush what is complete where there is something to flush, else leave at once."""
        if self._cancellation.requested or self._ended:
            return
        graceful = self._cancellation.request()
        stopped = Interrupted("stopped by the platform; what is committed stays, and the run goes on from there")
        # If the process hangs from here on, this remains its termination message.
        self._last_words(self._ending_of(stopped))
        seconds = FLUSH_SECONDS if graceful else AT_ONCE_SECONDS
        _end_after(seconds, ExitCode.STOPPED)
        if not graceful:
            raise stopped
        say("stopping as asked: what is complete is committed first")

    def _on_loss(self, failure: RunFailed) -> None:
        """End the run after Ray has died; the run's thread may hang in a call to Ray until the process ends."""
        if self._ended or self._cancellation.requested:
            return
        ending = self._ending_of(failure)
        self._last_words(ending)
        say(_summary(ending))
        self._head_status.announce(HeadState.DONE)
        _end_after(AT_ONCE_SECONDS, ending.code)

    def _attempt(self) -> RunResult:
        config = self._config = RunConfig.from_json(self._environment.config.read_bytes())
        self._endpoint = Endpoint(config, HTTP_PORT, "", head_status=self._head_status)
        self._endpoint.start()
        say(f"run {config.namespace}/{config.name}, attempt {config.attempt}, driver {self._head_status.instance}")
        # Ray's head takes seconds to start; so do the imports and the preflight, which run meanwhile.
        head = self._head = RayHead(self._environment.address, self._head_status, self._on_loss)
        from evalrun_runner.driver.assembly import Adapters, DriverOptions
        from evalrun_runner.driver.run import run

        options = DriverOptions(self._cancellation, in_cluster=True, host=head)
        return run(config, options, PodWatcher(self._endpoint), Adapters(partial(RayFleet, head.address)))

    def _ending_of(self, error: BaseException) -> Ending:
        ending = ending_of_error(error, self._config, self._progress(), in_preflight=not self._head_status.ready)
        if ending.result.failure is not None and ending.result.failure.reason == "InternalError":
            traceback.print_exception(error, file=sys.stderr)
        return ending

    def _progress(self) -> RunProgress:
        from evalrun_api import Phase

        return RunProgress(phase=Phase.STARTING) if self._endpoint is None else self._endpoint.progress()

    def _last_words(self, ending: Ending) -> None:
        try:
            self._environment.termination_log.write_bytes(ending.result.fit())
        except OSError as error:
            say(f"the termination message cannot be written: {error}")


def _end_after(seconds: float, code: ExitCode) -> None:
    """End the process after some seconds, even if it hangs."""
    backstop = threading.Timer(seconds, os._exit, [code])
    backstop.daemon = True
    backstop.start()


def _summary(ending: Ending) -> str:
    result = ending.result
    counts = result.counts
    why = "" if result.failure is None else f"\n{result.failure.reason}: {result.failure.message}"
    scores = "".join(
        f"\n{score.task} {score.metric},{score.filter}: {score.value} (n={score.n})" for score in result.scores[:20]
    )
    return (
        f"{result.phase}, exit code {int(ending.code)}: planned {counts.planned:,}, {counts.ok:,} ok, "
        f"{counts.failed:,} failed, {counts.quarantined:,} quarantined, {counts.skipped:,} skipped; "
        f"{result.results_uri}{why}{scores}"
    )


def main() -> None:
    """Run the driver's pod (entry point)."""
    pod = DriverPod(PodEnvironment.read())
    signal.signal(signal.SIGTERM, pod.on_signal)
    signal.signal(signal.SIGINT, pod.on_signal)
    adopt_orphans()
    code = pod.run()
    sys.stdout.flush()
    sys.stderr.flush()
    # Do not wait for threads that wait for a store or for Ray.
    os._exit(code)
