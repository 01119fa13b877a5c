"""What Prometheus reads from a real operator, before and after it was away."""

from __future__ import annotations

import urllib.request

from evalrun_api import Phase
from evalrun_api.wire.pods import Component
from support.expositions import Told, told
from support.operator_scene import RUNNING, SUCCEEDED, Scene
from support.operators import OperatorProcess
from support.playing_kubelet import PlayingDriver


def scrape(operator: OperatorProcess) -> Told:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.metrics_port}/metrics", timeout=10) as answer:
        return told(answer.read())


def test_a_runs_series_from_its_start_over_a_restart_to_its_deletion(scene: Scene) -> None:
    with scene.operator() as operator, PlayingDriver("127.0.11.7", RUNNING) as progress:
        operator.wait_ready()
        scene.apply()
        (driver,) = scene.kubelet.wait_pods(Component.DRIVER)
        scene.kubelet.runs(driver, ready=True, address=progress.address)
        for replica in scene.kubelet.wait_pods(Component.REPLICA, 2):
            scene.kubelet.runs(replica, ready=True)
        scene.wait_phase(Phase.RUNNING)
        key = ("nightly", scene.namespace)
        says = scene.wait(lambda: told_running(scrape(operator), key), "the page to say that it runs")
        assert says["evalrun_run_replicas"][*key, "ready"] == 2
        assert says["evalrun_operator_api_requests_total"]["EvalRun", "200", "apply"] >= 1
        assert set(says["evalrun_operator_watch_age_seconds"]) == {("EvalRun",), ("Job",), ("Pod",)}
        assert says["evalrun_condition_transitions_total"]["ReplicasReady", "Ready", "True"] == 1

        for replica in scene.kubelet.wait_pods(Component.REPLICA, 2):
            scene.kubelet.ends(replica, 0)
        scene.kubelet.driver_ends(SUCCEEDED)
        scene.wait_phase(Phase.SUCCEEDED)
        before = scene.wait(lambda: (page := scrape(operator)).get("evalrun_score") and page, "the score")
        assert list(before["evalrun_score"].values()) == [0.6831]

        assert operator.stop() == 0
        operator.start()
        operator.wait_ready()
        after = scene.wait(lambda: (page := scrape(operator)).get("evalrun_score") and page, "the score, again")
        for name in (
            "evalrun_score",
            "evalrun_score_stderr",
            "evalrun_score_items",
            "evalrun_run_info",
            "evalrun_run_final_items",
            "evalrun_run_finished_timestamp_seconds",
            "evalrun_runs",
        ):
            assert after[name] == before[name]

        scene.cluster.api.delete("evr", "nightly", scene.namespace)
        scene.wait(lambda: "evalrun_score" not in scrape(operator), "the series to be gone")
        assert "evalrun_runs" not in scrape(operator)
        assert not operator.said("Traceback")


def told_running(page: Told, key: tuple[str, str]) -> Told | None:
    return page if page.get("evalrun_run_phase") == {("Running", *key): 1} else None
