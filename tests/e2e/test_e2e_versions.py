"""An upgrade and a rollback in mid-run: what another version lets through, reads or writes changes no run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from evalrun_api.wire.pods import Component
from support.e2e import Platform, Run
from support.kstatus import Health, kstatus

pytestmark = pytest.mark.timeout(600)

CRD = "customresourcedefinitions"
DEFINITION = "evalruns.evalrun.dev"
NEW_FIELD = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/urgency"
ANOTHER_VERSION = ("Unknown", "AnotherVersion")


@contextmanager
def newer_definition(platform: Platform) -> Iterator[None]:
    """Serve the definition of a newer version inside the block: it has a field, with a default, in every spec."""

    there = platform.cluster.api.get(CRD, DEFINITION)
    kept = {name: there["metadata"].get(name, {}) for name in ("name", "labels", "annotations")}
    before = {"apiVersion": there["apiVersion"], "kind": there["kind"], "metadata": kept, "spec": there["spec"]}
    field = '{"type": "integer", "default": 5, "description": "How urgent it is."}'
    patch = f'[{{"op": "add", "path": "{NEW_FIELD}", "value": {field}}}]'
    platform.cluster.kubectl("patch", CRD, DEFINITION, "--type=json", "-p", patch)
    try:
        yield
    finally:
        # By the owner's name: with the fields of another one Helm's next upgrade would be refused.
        platform.cluster.api.apply(before, manager="helm")


def replace_operator(platform: Platform) -> None:
    """Replace the operator, as an upgrade and a rollback do; the definition stays as it is."""
    platform.stop_operator()
    platform.start_operator()


def accepted(run: Run) -> tuple[str, str]:
    status, reason, _ = run.condition("Accepted")
    return status, reason


def test_c03_a_rollback_and_an_upgrade_in_mid_run_change_nothing(platform: Platform, undisturbed: Run) -> None:
    run = platform.run("between-versions", seconds=60)
    assert kstatus(run.object()) is Health.IN_PROGRESS
    run.until_items(60)
    pods, jobs = run.pod_uids(), run.jobs()
    with newer_definition(platform):
        # The rollback: an operator that does not know what the definition has.
        replace_operator(platform)
        run.until(lambda: accepted(run) == ANOTHER_VERSION, "an operator that does not know the spec", 90)
        assert "spec.urgency" in run.condition("Accepted")[2]
        before = run.status["progress"]["ok"]
        run.until(lambda: run.status["progress"]["ok"] > before, "progress, which is still reported")
        assert run.status["phase"] == "Running"
        assert (run.pod_uids(), run.jobs()) == (pods, jobs), "no child is touched"
        assert kstatus(run.object()) is Health.IN_PROGRESS

        # A run that begins in the meantime waits, and says for what.
        waiting = platform.run("for-another-version")
        waiting.until(lambda: accepted(waiting) == ANOTHER_VERSION, "a word about its spec", 60)
        assert waiting.status["phase"] == "Pending" and not waiting.jobs()
        assert kstatus(waiting.object()) is Health.IN_PROGRESS

    # The upgrade: definition, operator and settings of the chart.
    platform.upgrade(**{"operator.podAnnotations.version": "after", "runner.pods.labels.made-by": "after"})
    platform.operator_ready()
    run.until(lambda: accepted(run) == ("True", "Accepted"), "an operator that knows the spec", 90)
    assert (run.pod_uids(), run.jobs()) == (pods, jobs)
    status = run.ended_well()
    assert (status["attempt"], status["chargedAttempts"]) == (1, 0)
    assert run.pod_uids() == pods
    assert kstatus(run.object()) is Health.CURRENT
    run.is_as(undisturbed)
    waiting.ended_well()


def test_c04_c05_kstatus_follows_a_run_from_its_creation_to_edits_after_its_end(platform: Platform) -> None:
    platform.stop_operator()
    try:
        run = platform.run("health", seconds=15)
        assert run.status == {"observedGeneration": -1}
        assert kstatus(run.object()) is Health.IN_PROGRESS, "nobody has seen it yet"
    finally:
        platform.start_operator()
    run.until(lambda: run.running(Component.REPLICA), "replicas")
    run.patch(policy={"suspend": True})
    run.until_phase("Suspended")
    assert kstatus(run.object()) is Health.IN_PROGRESS, "it has no results"
    run.patch(policy={"suspend": False})
    run.ended_well()
    run.until(lambda: kstatus(run.object()) is Health.CURRENT, "a result that may be promoted", 30)
    run.patch(policy={"ttlSecondsAfterFinished": 86400})
    run.until(lambda: kstatus(run.object()) is Health.CURRENT, "the edit to be seen", 30)
    assert run.status["observedGeneration"] == run.object()["metadata"]["generation"]
    assert run.condition("Admitted")[0] == "True"
