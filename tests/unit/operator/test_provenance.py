"""Which image answered: later pods run exactly what the first driver ran, where its node can say what that was."""

from __future__ import annotations

from typing import Any

import pytest

from evalrun_api import EvalRunStatus
from evalrun_api.wire.pods import Component
from evalrun_operator.backend.attempts import attempts
from evalrun_operator.backend.jobs import JobsBackend
from evalrun_operator.kube.objects import Create
from evalrun_operator.plan import plan
from evalrun_operator.plan.provenance import pinned
from evalrun_operator.settings import ImageSettings, OperatorSettings
from evalrun_operator.state.backend import Objects
from evalrun_operator.state.observed import Attempt, DriverPhase, Observed, ObservedDriver, References
from support.evalruns import NOON, make_run
from support.operator_backend_cases import job, objects, pod

DIGEST = "sha256:" + "a" * 64
TAGGED = "registry.example.com/evals/runner:1.2"
PINNED = f"registry.example.com/evals/runner@{DIGEST}"
SETTINGS = OperatorSettings(image=ImageSettings(reference=TAGGED))


@pytest.mark.parametrize(
    ("reference", "reported", "expected"),
    [
        (TAGGED, PINNED, PINNED),
        (TAGGED, f"docker-pullable://{PINNED}", PINNED),
        ("registry.example.com:5000/runner", f"registry.example.com:5000/runner@{DIGEST}", None),
        ("registry.example.com:5000/runner:1", f"registry.example.com:5000/runner@{DIGEST}", None),
        ("localhost/runner:1", f"localhost/runner@{DIGEST}", None),
        ("runner", f"docker.io/library/runner@{DIGEST}", f"runner@{DIGEST}"),
        ("evals/runner:1.2", f"docker.io/evals/runner@{DIGEST}", f"evals/runner@{DIGEST}"),
        (PINNED, PINNED, PINNED),
        # By a tag and a digest at once: not every runtime takes both.
        (f"{TAGGED}@{DIGEST}", PINNED, PINNED),
    ],
)
def test_a_digest_of_the_repository_is_what_later_pods_ask_for(
    reference: str, reported: str, expected: str | None
) -> None:
    assert pinned(reference, reported) == (expected or reported)


@pytest.mark.parametrize(
    "reported",
    [
        DIGEST,  # loaded into the node: the digest of its configuration, which nothing can be pulled by
        f"docker.io/library/import-2026-01-01@{DIGEST}",
        f"mirror.example.com/evals/runner@{DIGEST}",
        "registry.example.com/evals/runner@sha256:short",
        "registry.example.com/evals/runner",
        "x",
    ],
)
def test_what_is_no_digest_of_the_repository_is_only_recorded(reported: str) -> None:
    assert pinned(TAGGED, reported) == TAGGED


def observed(status: EvalRunStatus, number: int = 1, image_id: str = "") -> Observed:
    driver = ObservedDriver(DriverPhase.READY, image_id=image_id)
    return Observed(make_run().with_status(status).build(), {number: Attempt(driver)})


def begun(settings: OperatorSettings = SETTINGS) -> EvalRunStatus:
    return plan(Observed(make_run().build(), references=References()), settings, NOON).status


def images(seen: Observed, settings: OperatorSettings = SETTINGS) -> list[str]:
    """Return the images of the Jobs that are created next."""
    decided = plan(seen, settings, NOON)
    assert decided.desired is not None
    changes = JobsBackend(settings).changes(seen.run, decided.desired, Objects(), References())
    manifests = [dict(one.manifest) for one in changes if isinstance(one, Create) and one.kind.kind == "Job"]
    return [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in manifests]


def test_replicas_run_what_the_driver_runs_from_the_moment_that_it_is_known() -> None:
    seen = observed(begun(), image_id=PINNED)
    assert images(seen) == [PINNED]
    status = plan(seen, SETTINGS, NOON).status
    assert (status.runner_image, status.runner_image_id) == (PINNED, PINNED)


def test_the_next_attempt_runs_it_too_whatever_the_tag_means_by_then() -> None:
    status = plan(observed(begun(), image_id=PINNED), SETTINGS, NOON).status
    upgraded = OperatorSettings(image=ImageSettings(reference="registry.example.com/evals/runner:1.3"))
    again = Observed(make_run().with_status(status).build(), references=References())
    assert images(again, upgraded) == [PINNED]
    # Another node reports another name: the first driver's stays.
    other = plan(observed(status, 2, f"mirror.example.com/runner@{DIGEST}"), upgraded, NOON).status
    assert (other.runner_image, other.runner_image_id) == (PINNED, PINNED)


def test_an_image_that_was_loaded_into_the_nodes_is_recorded_and_asked_for_by_its_tag() -> None:
    seen = observed(begun(), image_id=DIGEST)
    assert images(seen) == [TAGGED]
    status = plan(seen, SETTINGS, NOON).status
    assert (status.runner_image, status.runner_image_id) == (TAGGED, DIGEST)
    assert status.to_dict()["runnerImageID"] == DIGEST


def test_a_driver_whose_node_has_not_reported_yet_changes_nothing() -> None:
    status = plan(observed(begun()), SETTINGS, NOON).status
    assert (status.runner_image, status.runner_image_id) == (TAGGED, None)


def test_an_image_that_fits_no_status_is_not_recorded() -> None:
    decided = plan(observed(begun(), image_id="x" * 2000), SETTINGS, NOON)
    assert decided.status.runner_image_id is None and decided.status.runner_image == SETTINGS.image.reference


def test_the_image_is_read_of_the_drivers_container_alone() -> None:
    seen: dict[str, Any] = pod(job())
    for container in seen["status"]["containerStatuses"]:
        container["imageID"] = PINNED if container["name"] == Component.DRIVER else "mesh@sha256:" + "b" * 64
    driver = attempts(objects(job(), seen).children, {})[1].driver
    assert driver is not None and driver.image_id == PINNED
