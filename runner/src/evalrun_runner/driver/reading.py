"""A finished run, read back from its output alone."""

from __future__ import annotations

import json

from evalrun_api import Counts, EvalRunSpec, Phase, RunLocation, RunResult, Verdict, Work
from evalrun_runner.driver.finish import scores_in
from evalrun_runner.driver.gates import judge
from evalrun_runner.driver.provenance import read_run
from evalrun_runner.errors import LedgerCorrupt
from evalrun_runner.ledger.ledger import Ledger
from evalrun_runner.storage import store_spec
from evalrun_runner.store.open import open_store


def read_result(location: RunLocation) -> RunResult:
    """The run's result; gates with a baseline are not judged again. Raises ``ObjectMissing`` if it is not finished."""
    store = open_store(store_spec(location))
    results = json.loads(Ledger(store).completed_results())
    record = read_run(store)
    if record is None:
        raise LedgerCorrupt(f"{location.uri} has COMPLETE but no run.json; the folder was changed by another hand")
    spec = EvalRunSpec.model_validate_json(json.dumps(record["spec"]))
    gates = judge([gate for gate in spec.gates if gate.baseline is None], results, [])
    counts = Counts.model_validate(results["evalrun"]["counts"])
    return RunResult(
        phase=Phase.SUCCEEDED,
        engine=results["evalrun"]["engine"],
        counts=counts,
        work=Work(kept=counts.planned),
        verdict=Verdict.overall(gate.verdict for gate in gates),
        gates=gates,
        scores=scores_in(results),
        results_uri=location.uri,
    )
