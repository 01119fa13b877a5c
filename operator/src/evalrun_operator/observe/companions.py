"""Whether what only pods read is still there: Secret, ConfigMap, Service and NetworkPolicy of a living attempt.

Nobody needs them while all pods run, and nothing tells that one is missing; but the next pod will not start, and
without the NetworkPolicy everybody reaches the run's engines. They are checked now and then, not watched: a watch would
need the right to list every Secret and ConfigMap of the cluster.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from evalrun_api import EvalRun
from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import ApiError, Forbidden, NotFound
from evalrun_operator.kube.objects import SECRETS, Kind, Manifest
from evalrun_operator.names import ObservedRun
from evalrun_operator.state.backend import Backend
from evalrun_operator.state.observed import Attempt

logger = logging.getLogger(__name__)

CHECK_INTERVAL = timedelta(minutes=5)
"""Time between two checks of what an attempt needs, and from its start to the first."""
URGENT_CHECK_INTERVAL = timedelta(seconds=20)
"""The same while a pod of it waits for what it reads."""


@dataclass
class Companions:
    """Checks what the pods of runs read. ``now`` is the clock."""

    client: Client
    backend: Backend
    now: Callable[[], datetime]
    _checked_at: dict[Hashable, tuple[int, datetime]] = field(default_factory=dict)
    """By run: the attempt, and when it was checked last."""

    def forget(self, key: Hashable) -> None:
        """Forget a run that has no living attempt."""
        self._checked_at.pop(key, None)

    async def missing(self, key: Hashable, run: EvalRun, number: int, attempt: Attempt) -> frozenset[Kind]:
        """Return what is missing of a living attempt, if a check is due; the Secret only if a pod waits for it.

        Its token is in the environment of every pod that runs: another one is only made where it must be. What the API
        server does not tell counts as there until the next check.
        """
        now = self.now()
        checked, last = self._checked_at.get(key, (0, None))
        if checked != number or last is None:
            last = attempt.created_at
        if last is not None and now - last < (URGENT_CHECK_INTERVAL if attempt.pod_waits else CHECK_INTERVAL):
            return frozenset()
        named = [
            (kind, metadata)
            for kind, metadata in self.backend.companions(run, number)
            if kind is not SECRETS or attempt.pod_waits
        ]
        exist = await asyncio.gather(*(self._exists(run, kind, metadata) for kind, metadata in named))
        self._checked_at[key] = (number, now)
        return frozenset(kind for (kind, _), there in zip(named, exist, strict=True) if not there)

    async def _exists(self, run: EvalRun, kind: Kind, metadata: Manifest) -> bool:
        namespace = ObservedRun.of(run).namespace
        try:
            await self.client.get_metadata(kind, namespace, metadata["name"])
        except NotFound:
            return False
        except Forbidden:
            # The operator may create Secrets in every namespace and read them in few.
            return await self._is_taken(kind, namespace, metadata)
        except ApiError as error:
            logger.warning("%s %s could not be checked: %s", kind.kind, metadata["name"], error)
        return True

    async def _is_taken(self, kind: Kind, namespace: str, metadata: Manifest) -> bool:
        """Ask whether an object could be created, without creating it.

        It names its owner, or the chart's own ValidatingAdmissionPolicies would refuse it in any case.
        """
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        try:
            await self.client.create(kind, namespace, manifest, dry_run=True)
        except ApiError:
            # It exists, or a quota or a policy keeps the answer back.
            return True
        return False
