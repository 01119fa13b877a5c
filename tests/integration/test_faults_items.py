"""Items that kill the engine, hang it, never end or are refused: they alone are lost, and the run says so."""

from __future__ import annotations

import json
from pathlib import Path

from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.records.results import ItemStatus
from evalrun_runner.store.directory import DirectoryStore
from support.runs import Run, parts, write_run, write_suite

BAD = {3: "die", 11: "hang", 18: "stall", 27: "refuse"}
"""Document -> what the mock engine does with it; one to a chunk of eight."""
ITEMS = 32
GATE = {"task": "sums", "metric": "exact_match", "filter": "number", "min": 0.0}
IMPATIENT = {"policy": {"progress_s": 6.0}, "options": {"item_deadline": 12.0}}


def test_bad_items_are_isolated_named_and_lost_alone_and_the_cap_decides_the_run(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "suite", [f"Item {n}: {f'[mock:{BAD[n]}]' if n in BAD else 'fine'}" for n in range(ITEMS)]
    )
    output = tmp_path / "output"
    file = write_run(tmp_path / "run.yaml", suite, gates=[GATE])

    # Nothing may be lost by default: the run fails and names them.
    with Run(tmp_path, ["run", file, "--output", output], settings=IMPATIENT) as run:
        assert run.ended() == 1, run.stderr
        (said,) = [line for line in run.stderr.splitlines() if line.startswith("evalrun:")]
    assert "2 failed and 2 quarantined items are more than spec.policy.maxFailedItems (0)" in said
    assert "sums document 3: quarantined: killed the engine twice, alone the second time" in said
    assert "sums document 11: quarantined" in said
    assert "sums document 18: failed: DeadlineExceeded" in said
    assert "its engine has processed no token for" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (output / "COMPLETE").exists()
    assert {doc: status for doc, (status, _) in ends(output).items() if status is not ItemStatus.OK} == {
        3: ItemStatus.QUARANTINED,
        11: ItemStatus.QUARANTINED,
        18: ItemStatus.FAILED,
        27: ItemStatus.FAILED,
    }
    assert ends(output)[27][1] == "RefusedByEngine: the mock engine was told to refuse this request"
    assert len(ends(output)) == ITEMS

    # The same results under a cap that allows them: nothing is asked again, and a gate on the task is inconclusive.
    before = parts(output)
    allowed = ["run", file, "--output", output, "--set", "spec.policy.maxFailedItems=4", "--json"]
    with Run(tmp_path, allowed) as run:
        assert run.ended() == 4, run.stderr
        assert "starting 2 mock replicas" not in run.stderr
        result = json.loads(run.stdout)
    assert result["phase"] == "Succeeded"
    assert result["verdict"] == "Inconclusive"
    answers = {"complete": ITEMS - 4, "truncated": 0, "refused": 0, "filtered": 0, "empty": 0}
    ended = {"planned": ITEMS, "ok": ITEMS - 4, "failed": 2, "quarantined": 2, "skipped": 0}
    assert result["counts"] == {**ended, "answers": answers}
    assert result["work"]["kept"] == ITEMS
    assert result["work"]["redone"] > 0, "what the first driver's replicas lost counts for the run"
    assert result["scores"][0]["n"] == ITEMS - 4, "what failed is no zero"
    assert parts(output) == before


def ends(output: Path) -> dict[int, tuple[ItemStatus, str | None]]:
    """Document -> how it ended, and why."""
    ledger = Ledger(DirectoryStore(output))
    rows = [row for chunk in ledger.read_segment("sums", 0).chunks for row in ledger.read_part(chunk).rows]
    return {row.doc_id: (row.outcome.status, row.outcome.error) for row in rows}
