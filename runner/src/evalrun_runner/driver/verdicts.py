"""gates.json: what was asked of a run's scores, when, and with which verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from evalrun_api import Gate, GateResult, Reason, Verdict
from evalrun_api.wire.outputs import GatesRecord, Judgement
from evalrun_runner.driver.record import now
from evalrun_runner.errors import LedgerCorrupt, ObjectMissing
from evalrun_runner.ledger import layout
from evalrun_runner.store.base import ObjectStore


def record_verdicts(store: ObjectStore, asked: Sequence[Gate], verdicts: Sequence[GateResult]) -> None:
    """Add the verdicts of gates to ``gates.json``, unless they are those that it ends with.

    Raises:
        LedgerCorrupt: What is there is damaged.
        StoreError: It cannot be written.
    """
    if not asked:
        return
    judgement = Judgement(
        at=now(),
        asked=[gate.to_dict() for gate in asked],
        gates=[gate.to_dict() for gate in verdicts],
        verdict=Verdict.overall(gate.verdict for gate in verdicts if not gate.advisory),
    )
    there = _read(store)
    before = [] if there is None else there.judgements
    if before and (before[-1].asked, before[-1].gates) == (judgement.asked, judgement.gates):
        return
    record = (there or GatesRecord(judgements=[])).model_copy(update={"judgements": [*before, judgement]})
    store.put(layout.GATES, record.write())


def kept_verdicts(store: ObjectStore, asked: Sequence[Gate]) -> tuple[GateResult, ...] | None:
    """Read the verdicts of a finished run on the same gates.

    Args:
        store: The run's output.
        asked: The gates.

    Returns:
        None where other gates were asked, or where one was not judged because its baseline could not be read.

    Raises:
        LedgerCorrupt: ``gates.json`` is damaged.
    """
    record = _read(store)
    if record is None or not record.judgements:
        return None
    if record.judgements[-1].asked != [gate.to_dict() for gate in asked]:
        return None
    verdicts = last_verdicts(store)
    if verdicts is None or any(gate.reason is Reason.BASELINE_MISSING for gate in verdicts):
        return None
    return verdicts


def last_verdicts(store: ObjectStore) -> tuple[GateResult, ...] | None:
    """Read the verdicts that were given last; None where none were recorded.

    Raises:
        LedgerCorrupt: ``gates.json`` is damaged.
    """
    record = _read(store)
    if record is None or not record.judgements:
        return None
    try:
        return tuple(
            GateResult.model_validate(gate, by_alias=True, by_name=False) for gate in record.judgements[-1].gates
        )
    except ValueError as error:
        raise _damaged(store, error) from error


def _read(store: ObjectStore) -> GatesRecord | None:
    try:
        return GatesRecord.read(store.get(layout.GATES))
    except ObjectMissing:
        return None
    except ValueError as error:
        raise _damaged(store, error) from error


def _damaged(store: ObjectStore, error: ValueError) -> LedgerCorrupt:
    return LedgerCorrupt(
        f"{store.uri}{layout.GATES} is damaged ({error}). Put a sound copy of it back, or remove it: the same "
        "`evalrun run` again judges the gates anew"
    )
