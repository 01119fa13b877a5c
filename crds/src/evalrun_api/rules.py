"""Rules between fields, each stated once: as CEL for the API server and as Python for every other reader.

The CRD takes ``cel``, ``message`` and ``field``; the models call ``holds`` when they are created. Rules that compare
with the old object (immutability) have no Python form and live with the CRD, in ``crd.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about one model."""

    cel: str
    """CEL expression with the model as ``self``; '' where CEL cannot express it: such a run ends as Invalid."""
    message: str
    """What is allowed and why; a whole sentence without the field's path."""
    holds: Callable[[Any], bool]
    """The same in Python, given the model."""
    field: str = ""
    """Field to point at, as YAML spells it, relative to the model; '' is the model itself."""
    cluster_only: bool = False
    """Whether only a cluster forbids it: then the CRD rejects it, the models do not."""

    def to_schema(self) -> dict[str, str]:
        """Return the rule as an entry of ``x-kubernetes-validations``."""
        return validation(self.cel, self.message, self.field)


def validation(cel: str, message: str, field: str = "") -> dict[str, str]:
    """Build an entry of ``x-kubernetes-validations`` that points at a field of its object, or at the object."""
    where = {"fieldPath": f".{field}", "reason": "FieldValueInvalid"} if field else {}
    return {"rule": cel, "message": message, **where}


def exactly_one(*fields: str, of: str) -> Rule:
    """Build the rule that exactly one of some optional fields is set.

    Args:
        fields: Attribute names that YAML spells the same except for case (``config_map``).
        of: What the fields are, for the message ("engine").
    """
    aliases = [camel(name) for name in fields]
    return Rule(
        cel="[" + ", ".join(f"has(self.{alias})" for alias in aliases) + "].filter(given, given).size() == 1",
        message=f"exactly one {of} is needed: {' or '.join(aliases)}",
        holds=lambda model: sum(getattr(model, name) is not None for name in fields) == 1,
    )


def camel(name: str) -> str:
    """Convert ``num_fewshot`` to its YAML spelling, ``numFewshot``."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
