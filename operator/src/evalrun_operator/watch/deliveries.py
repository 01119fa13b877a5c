"""The proof that watches work: what lists show must have come through the watches as well.

A watch can fall silent without notice: its task ended, or its connection hangs. The process is alive and sees nothing.
So each resync compares what it lists with what the watches delivered. An object whose version a watch has not delivered
is *outstanding*: it may be on its way. If it is still outstanding at the next resync, and nothing about that object was
delivered in between, the watch is silent. This proves the whole path, from the API server through kopf to the handlers,
with objects that exist anyway: a heartbeat object would need a write each time, from every installation, and would
prove only the watch of its own kind. Where nothing changes there is nothing to prove, and nothing to miss.

An object that was delivered and is not listed any more has *vanished*: its deletion was missed. The state of an object
that is neither behind nor vanished is known without reading it again.

Versions are opaque: they are only compared for equality. A watch may be ahead of a list.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from evalrun_operator.kube.objects import Kind


@dataclass(slots=True)
class _Delivered:
    version: str
    turn: int
    """Number of the delivery among those of the watch."""
    owner: Hashable


@dataclass(slots=True)
class _Watch:
    delivered: dict[str, _Delivered] = field(default_factory=dict)
    """Last delivery by uid."""
    outstanding: dict[str, int] = field(default_factory=dict)
    """By uid: the turn at which the object was found to be outstanding."""
    turn: int = 0


class Deliveries:
    """Deliveries of the watches, by kind. It has no clock and no client."""

    def __init__(self) -> None:
        self._watches: dict[Kind, _Watch] = {}

    def record(self, kind: Kind, uid: str, version: str, owner: Hashable = None) -> None:
        """Record that a watch delivered this version of an object.

        Args:
            kind: The kind of the watch.
            uid: The object.
            version: Its resource version.
            owner: What to return as vanished if the object's deletion is missed.
        """
        watch = self._of(kind)
        watch.turn += 1
        watch.delivered[uid] = _Delivered(version, watch.turn, owner)

    def record_deletion(self, kind: Kind, uid: str) -> None:
        """Record that a watch delivered the deletion of an object."""
        watch = self._of(kind)
        watch.turn += 1
        watch.delivered.pop(uid, None)
        watch.outstanding.pop(uid, None)

    def turn(self, kind: Kind) -> int:
        """Return the number of deliveries; take it before a list is requested, and pass it to ``compare``."""
        return self._of(kind).turn

    def compare(self, kind: Kind, listed: Mapping[str, str], turn: int) -> Comparison:
        """Compare a list with the deliveries.

        Args:
            kind: The kind that was listed.
            listed: Versions by uid.
            turn: The value of ``turn`` before the list was requested.
        """
        watch = self._of(kind)
        behind = {uid for uid, version in listed.items() if self._version(watch, uid) != version}
        overdue = {
            uid for uid in behind if uid in watch.outstanding and self._turn(watch, uid) <= watch.outstanding[uid]
        }
        watch.outstanding = {uid: watch.outstanding[uid] if uid in overdue else watch.turn for uid in behind}
        # An object that was created after the list was requested is not in it, but has been delivered since.
        gone = [uid for uid, last in watch.delivered.items() if uid not in listed and last.turn <= turn]
        vanished = frozenset(watch.delivered.pop(uid).owner for uid in gone)
        unheard = frozenset(uid for uid in behind if self._turn(watch, uid) <= turn)
        return Comparison(frozenset(behind), unheard, frozenset(overdue), vanished)

    def still_outstanding(self, kind: Kind, uids: frozenset[str]) -> frozenset[str]:
        """Return those about which nothing was delivered since they were found to be outstanding."""
        watch = self._of(kind)
        return frozenset(
            uid for uid in uids if uid in watch.outstanding and self._turn(watch, uid) <= watch.outstanding[uid]
        )

    def _of(self, kind: Kind) -> _Watch:
        return self._watches.setdefault(kind, _Watch())

    @classmethod
    def _is_outstanding(cls, watch: _Watch, uid: str) -> bool:
        return uid in watch.outstanding and cls._turn(watch, uid) <= watch.outstanding[uid]

    @staticmethod
    def _version(watch: _Watch, uid: str) -> str | None:
        last = watch.delivered.get(uid)
        return None if last is None else last.version

    @staticmethod
    def _turn(watch: _Watch, uid: str) -> int:
        last = watch.delivered.get(uid)
        return 0 if last is None else last.turn


@dataclass(frozen=True, slots=True)
class Comparison:
    """A list compared with the deliveries of a watch; objects by uid."""

    behind: frozenset[str]
    """Listed in a version that the watch has not delivered: on its way, or missed."""
    unheard: frozenset[str]
    """Those of ``behind`` without a delivery since the list was requested: the watch is not ahead of it."""
    overdue: frozenset[str]
    """Behind in two consecutive comparisons, with no delivery in between."""
    vanished: frozenset[Hashable]
    """Owners of objects that were delivered and are not listed any more."""
