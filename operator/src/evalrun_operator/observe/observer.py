"""Everything that is read of a run, in one place."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import NamedTuple

from evalrun_api import EvalRun, EvalRunStatus, Reason, RunLocation, RunProgress
from evalrun_api.wire.pods import CONFIG_KEY, LABEL_RUN
from evalrun_operator import names
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import ApiError, Forbidden, NotFound
from evalrun_operator.kube.objects import CONFIG_MAPS, EVALRUNS, NODES, SECRETS, Kind, Manifest
from evalrun_operator.names import ObservedRun
from evalrun_operator.observe.companions import Companions
from evalrun_operator.observe.explanations import Explanations
from evalrun_operator.observe.known import Heard, KnownChildren, Versioned
from evalrun_operator.observe.lookups import look_up
from evalrun_operator.observe.parse import parse_run
from evalrun_operator.observe.references import named_runs
from evalrun_operator.state.backend import Backend, Objects
from evalrun_operator.state.explanations import Explanation
from evalrun_operator.state.observed import Attempt, DriverPhase, Missing, Observed, ObservedDriver, References

logger = logging.getLogger(__name__)

NODES_FORBIDDEN_FOR = timedelta(minutes=10)
"""Time after which nodes are asked for again that the operator could not get: its rights may be granted, or were only
missing for a moment.
"""


class Key(NamedTuple):
    """Namespace and name of an EvalRun."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


MANY = 100
"""Children of a run above which it costs more to find out whether a change counts than to reconcile the run."""
AskProgress = Callable[[str], Awaitable[RunProgress | None]]
"""Asks the driver at an address for its progress."""


@dataclass
class Observer:
    """Reader of runs. ``now`` is the clock that deletions of pods are compared with.

    A run is read each time, its children once: a label selector scans all objects of a namespace, which is expensive in
    large ones. From then on whoever hears of a child tells it (``learn``): a watch, and the operator itself of what it
    created. They are read again where one of them ends. Whoever knows only that something has changed calls ``forget``.
    """

    client: Client
    backend: Backend
    ask_progress: AskProgress
    now: Callable[[], datetime]
    _nodes_forbidden_at: datetime | None = None
    """Last time at which a node could not be got; None while nodes can be got."""
    _known: dict[Key, KnownChildren] = field(default_factory=dict)
    _reading: dict[Key, list[Heard]] = field(default_factory=dict)
    """What was heard of the children of a run while they are read."""
    _explanations: Explanations = field(init=False)
    _companions: Companions = field(init=False)

    def __post_init__(self) -> None:
        self._explanations = Explanations(self.client, self.now)
        self._companions = Companions(self.client, self.backend, self.now)

    def forget(self, key: Key) -> None:
        """Forget the children of a run: they are read again, also by a read that is in progress."""
        self._known.pop(key, None)
        self._reading.pop(key, None)

    def settle(self, key: Key) -> None:
        """Forget the children of a finished run when none of them runs any more: such runs may be very many."""
        known = self._known.get(key)
        if known is not None:
            known.final = True
            if not known.children.running:
                self.forget(key)

    def learn(self, key: Key, kind: Kind, manifest: Manifest, *, deleted: bool = False) -> bool:
        """Take in a child as it is now; return whether that is news, for which the run should be reconciled."""
        heard = Heard.of(manifest, None if deleted else self.backend.parse(kind, manifest))
        if (reading := self._reading.get(key)) is not None:
            reading.append(heard)
            return True
        known = self._known.get(key)
        if known is None or heard.run != known.uid:
            return True
        if not known.can_learn(heard):
            self.forget(key)
            return True
        before = None if len(known) > MANY else known.attempts(self.backend)
        if not known.learn(heard):
            return False
        if heard.is_end and not known.final:
            # A Job's end may be heard before that of its pod, whose last words decide: one moment is read of all.
            self.forget(key)
            return True
        return before is None or known.needs_care or known.attempts(self.backend) != before

    async def observe(self, key: Key) -> tuple[Observed, Objects] | None:
        """Read one run and everything about it.

        Returns:
            The run and its children; None if the run is deleted or being deleted.

        Raises:
            ApiError: Something could not be read.
            UnreadableStatus: The status could not be understood.
        """
        try:
            body = await self.client.get(EVALRUNS, key.namespace, key.name)
        except NotFound:
            body = {}
        if body and not _is_of(body, key):
            logger.error("%s: the API server answered with another object, which is ignored", key)
            body = {}
        if not body or body["metadata"].get("deletionTimestamp"):
            self.forget(key)
            self._explanations.forget(key)
            self._companions.forget(key)
            return None
        run, invalid = parse_run(body)
        objects = await self._children(key, run)
        objects = replace(objects, explanations=await self._explained(key, run, objects))
        observed = Observed(run, self.backend.attempts(objects), invalid=invalid)
        present = observed.present
        missing = await self._missing(key, observed, present)
        progress, references = await asyncio.gather(
            self._progress(present.driver), self._references(observed, present, missing)
        )
        observed = replace(observed, progress=progress, references=references, token_lost=SECRETS in missing)
        return observed, replace(objects, missing=missing)

    async def _missing(self, key: Key, observed: Observed, present: Attempt) -> frozenset[Kind]:
        """Check what the pods of a living attempt read; that of another version's run is left alone."""
        lives = present.driver is not None and present.driver.phase.lives and not _is_finished(observed.run)
        if not lives or observed.unusable is not None:
            self._companions.forget(key)
            return frozenset()
        return await self._companions.missing(key, observed.run, observed.last_attempt, present)

    async def _children(self, key: Key, run: EvalRun) -> Objects:
        known = self._known.get(key)
        if known is None or known.uid != run.metadata.uid:
            known = await self._read_children(key, run)
        children = known.children
        return Objects(children, await self._lost(children.nodes_of_stuck(self.now())))

    async def _read_children(self, key: Key, run: EvalRun) -> KnownChildren:
        reading: list[Heard] = []
        self._reading[key] = reading
        selector = f"{LABEL_RUN}={run.metadata.uid}"
        reads = (self._read(kind, key.namespace, selector) for kind in self.backend.kinds)
        try:
            children = KnownChildren(run.metadata.uid, chain.from_iterable(await asyncio.gather(*reads)))
        finally:
            undisturbed = self._reading.pop(key, None) is reading
        # What was heard meanwhile may be newer than the lists.
        certain = undisturbed and all(map(children.can_learn, reading))
        for heard in reading:
            children.learn(heard)
        children.final = _is_finished(run)
        # Finished runs may be very many, and they are rarely reconciled.
        if certain and (not children.final or children.children.running):
            self._known[key] = children
        return children

    async def _read(self, kind: Kind, namespace: str, selector: str) -> list[Versioned]:
        """Parse what a list returns as it comes: a pod has 60 KiB as JSON values, and one run may have a thousand."""
        return [
            (parsed, each["metadata"].get("resourceVersion", ""))
            async for each in self.client.list_objects(kind, namespace, selector)
            if (parsed := self.backend.parse(kind, each)) is not None
        ]

    async def _explained(self, key: Key, run: EvalRun, objects: Objects) -> Mapping[str, Explanation]:
        """Ask the cluster about children that wait, of a run that should get on."""
        resting = _is_finished(run) or run.spec.policy.suspend
        waiting = () if resting else self.backend.waiting(objects)
        return await self._explanations.of(key, key.namespace, waiting)

    async def _lost(self, nodes: Iterable[str]) -> frozenset[str]:
        if self._nodes_forbidden_at is not None and self.now() - self._nodes_forbidden_at < NODES_FORBIDDEN_FOR:
            return frozenset()
        names = sorted(nodes)
        found = await asyncio.gather(*(self._is_lost(name) for name in names))
        return frozenset(name for name, lost in zip(names, found, strict=True) if lost)

    async def _is_lost(self, name: str) -> bool:
        try:
            node = await self.client.get(NODES, None, name)
        except NotFound:
            self._nodes_forbidden_at = None
            return True
        except Forbidden as error:
            if self._nodes_forbidden_at is None:
                logger.warning(
                    "pods on lost nodes are not force-deleted, because this operator may not get nodes (the chart "
                    "grants it to cluster-wide installations); it is tried again every %d minutes: %s",
                    NODES_FORBIDDEN_FOR / timedelta(minutes=1),
                    error,
                )
            self._nodes_forbidden_at = self.now()
            return False
        except ApiError as error:
            # Nothing is known of the node, and its pods are looked at again; the rest of the run is judged meanwhile.
            logger.warning("node %s could not be read: %s", name, error)
            return False
        self._nodes_forbidden_at = None
        conditions = (node.get("status") or {}).get("conditions") or []
        return not any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)

    async def _progress(self, driver: ObservedDriver | None) -> RunProgress | None:
        if driver is None or driver.phase is not DriverPhase.READY or driver.address is None:
            return None
        return await self.ask_progress(driver.address)

    async def _references(self, observed: Observed, attempt: Attempt, missing: frozenset[Kind]) -> References | None:
        """Look up the references only where an attempt or its ConfigMap may have to be created, or is not recorded."""
        run = observed.run
        if observed.unusable is not None or _is_finished(run) or run.spec.policy.suspend:
            return None
        status, driver, replicas = run.status or EvalRunStatus(), attempt.driver, attempt.replicas
        lives = driver is not None and not driver.phase.ended and CONFIG_MAPS not in missing
        if lives and (status.attempt is not None or not named_runs(run.spec)):
            return None
        if driver is not None and driver.done:
            return None
        if driver is None and replicas is not None and replicas.queued:
            # Its driver is made again when the queue admits its replicas: until then nothing is needed.
            return None
        try:
            return await self._look_up(observed, unrecorded=driver is not None and not driver.phase.ended)
        except ApiError as error:
            # People read why nothing moves, and the run's replicas are freed, however long this takes.
            message = f"what the next attempt needs could not be read, so the run waits and asks again: {error}"
            return References((Missing("spec", Reason.RETRYING, message),))

    async def _look_up(self, observed: Observed, *, unrecorded: bool) -> References:
        run, namespace = observed.run, ObservedRun.of(observed.run).namespace
        # What another version of the operator, or other settings, accepted is not judged again.
        if observed.last_attempt == 0:
            problems = self.backend.problems(run)
            if problems:
                return References(problems)
            found = await look_up(self.client, namespace, run.spec)
            # With the addresses of other runs the RunConfig has its whole size.
            known = not found.problems and bool(found.runs)
            return replace(found, problems=self.backend.problems(run, found)) if known else found
        resolved = {one.name: RunLocation(uri=one.uri) for one in (run.status or EvalRunStatus()).resolved_runs}
        first = await self._first_config(run)
        # The input of the first attempt has the addresses of earlier runs, whatever became of them since.
        runs_too = unrecorded or first.first_config is None
        found = await look_up(self.client, namespace, run.spec, resolved, runs_too=runs_too)
        return replace(found, problems=(*found.problems, *first.problems), first_config=first.first_config)

    async def _first_config(self, run: EvalRun) -> References:
        """Read the RunConfig of the first attempt, which every later attempt gets, unless it is gone."""
        observed = ObservedRun.of(run)
        name = names.config_map(observed.unique, 1)
        try:
            found = await self.client.get(CONFIG_MAPS, observed.namespace, name)
            config = json.loads((found.get("data") or {})[CONFIG_KEY])
        except Forbidden:
            message = (
                "the operator may not read it, which has the input of the first attempt, so the run waits; hint: the "
                "chart's roles grant it, ask an administrator whether they are as the chart has them"
            )
            return References((Missing(f"ConfigMap {name}", Reason.FORBIDDEN, message),))
        except (NotFound, KeyError, ValueError):
            return References()
        ours = isinstance(config, dict) and config.get("uid") == observed.uid
        return References(first_config=config if ours else None)


def _is_of(body: Manifest, key: Key) -> bool:
    """Check that an object is the one that was asked for: no other object is ever changed."""
    return (body["metadata"].get("namespace"), body["metadata"].get("name")) == key


def _is_finished(run: EvalRun) -> bool:
    return run.status is not None and run.status.finished
