"""What the operator needs of a backend: objects from what is wanted, and a picture of what is there. Both pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from evalrun_api import EvalRun
from evalrun_operator.kube.objects import Change, Kind, Manifest
from evalrun_operator.state.desired import DesiredState
from evalrun_operator.state.observed import Attempt, Missing, References


@dataclass(frozen=True, slots=True)
class Objects:
    """A run's children as they are in the cluster."""

    by_kind: Mapping[Kind, Sequence[Manifest]] = field(default_factory=dict)
    """All of the kinds that the backend reads, with the run's label."""
    lost_nodes: frozenset[str] = frozenset()
    """Names of nodes that are not ready, among those that the run's pods are bound to."""

    def of(self, kind: Kind) -> Sequence[Manifest]:
        """The children of a kind."""
        return self.by_kind.get(kind, ())


class Backend(Protocol):
    """Makes children and reads them. No client, no clock."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds that are read, by the run's label, and watched."""

    def problems(self, run: EvalRun) -> tuple[Missing, ...]:
        """What the cluster would refuse of children made from this spec; InvalidSpec, all of it."""

    def attempts(self, objects: Objects) -> Mapping[int, Attempt]:
        """What is there, by attempt."""

    def changes(
        self, run: EvalRun, desired: DesiredState, objects: Objects, references: References | None
    ) -> tuple[Change, ...]:
        """What has to be written so that what is wanted will be there, in order.

        ``references`` are needed to make a driver.
        """

    def repairs(self, objects: Objects, now: datetime) -> tuple[Change, ...]:
        """What mends children that the cluster cannot mend by itself, such as pods on nodes that are gone."""
