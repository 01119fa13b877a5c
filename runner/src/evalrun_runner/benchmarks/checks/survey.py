"""What was found in the documents of a task, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evalrun_runner.benchmarks.checks.findings import DocumentFinding, Fault
from evalrun_runner.records.plan import PlanNote


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a task's documents."""

    documents: int = 0
    """Number of documents looked at."""
    findings: Mapping[int, tuple[DocumentFinding, ...]] = field(default_factory=dict)
    """Faults by document, in the order of the documents."""
    notes: tuple[PlanNote, ...] = ()
    """What is odd, and may be meant."""
    examples: tuple[DocumentFinding, ...] = ()
    """Faults of the documents of which few-shot examples are drawn, by their number among these."""

    @property
    def wrong(self) -> int:
        """Number of documents and few-shot examples that are wrong."""
        return len(self.findings) + len(self.examples)

    @property
    def first_right(self) -> int | None:
        """Number of the first document without a fault, counted from 0; None if there is none."""
        return next((number for number in range(self.documents) if number not in self.findings), None)

    def fault(self, document: int) -> str | None:
        """Return what is wrong with a document as one text; None if nothing is."""
        found = self.findings.get(document)
        if found is None:
            return None
        # Half of a surrogate pair is no text for a Parquet file.
        return "; ".join(finding.line for finding in found).encode(errors="backslashreplace").decode()

    def as_notes(self) -> tuple[PlanNote, ...]:
        """Count the faults by kind, for a task whose documents are scored all the same."""
        by_fault: dict[Fault, list[DocumentFinding]] = {}
        for found in self.findings.values():
            for finding in {one.fault: one for one in found}.values():
                by_fault.setdefault(finding.fault, []).append(finding)
        counted = (
            PlanNote(
                f"{len(found)} of {self.documents} documents {fault.value}; they are scored as lm-eval scores them. "
                f"The first is document {found[0].document}: {found[0].line}",
                len(found),
            )
            for fault, found in by_fault.items()
        )
        return (*counted, *self.notes)
