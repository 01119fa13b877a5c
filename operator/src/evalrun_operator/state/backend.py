"""The protocol of a backend: children from the desired state, and the observed state from children. Both are pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from evalrun_api import EvalRun
from evalrun_operator.kube.objects import Change, Kind, Manifest
from evalrun_operator.state.children import Children, Job, Pod
from evalrun_operator.state.desired import DesiredState
from evalrun_operator.state.explanations import Explanation, Waiting
from evalrun_operator.state.observed import Attempt, Missing, References


@dataclass(frozen=True, slots=True)
class Objects:
    """The children of a run as they are in the cluster."""

    children: Children = field(default_factory=Children)
    """Every object of the kinds that the backend reads, selected by the run's label."""
    lost_nodes: frozenset[str] = frozenset()
    """Names of nodes that are not ready, among those that the run's pods are bound to."""
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    """What the cluster says about those that wait, by uid."""
    missing: frozenset[Kind] = frozenset()
    """Kinds of what only pods read that the present attempt lacks, as far as it was checked."""


class Backend(Protocol):
    """Creates and reads children. It has no client and no clock."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Return the kinds that are read, by the run's label, and watched."""

    def parse(self, kind: Kind, manifest: Manifest) -> Job | Pod | None:
        """Parse an object of such a kind, whose body is dropped then; None for one that is not the run's."""

    def companions(self, run: EvalRun, attempt: int) -> tuple[tuple[Kind, Manifest], ...]:
        """Name what only the pods of an attempt read, which is neither listed nor watched: kinds and metadata."""

    def problems(self, run: EvalRun, references: References | None = None) -> tuple[Missing, ...]:
        """Return what the cluster would reject of children made from this spec; each is InvalidSpec.

        Args:
            run: The run.
            references: What the names in the spec stand for, where they are known already.
        """

    def waiting(self, objects: Objects) -> tuple[Waiting, ...]:
        """List the children that wait, of which the cluster may say why."""

    def attempts(self, objects: Objects) -> Mapping[int, Attempt]:
        """Summarize the existing children by attempt number."""

    def changes(
        self, run: EvalRun, desired: DesiredState, objects: Objects, references: References | None
    ) -> tuple[Change, ...]:
        """Compute the writes, in order, that lead to the desired state.

        Args:
            run: The run.
            desired: The desired children of one attempt.
            objects: The existing children.
            references: What the names in the spec stand for; needed to create a driver.
        """

    def repairs(self, objects: Objects, now: datetime) -> tuple[Change, ...]:
        """Compute the writes that repair what the cluster cannot repair itself, such as pods on lost nodes."""
