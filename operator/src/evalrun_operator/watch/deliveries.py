"""The proof that watches work: what lists show must have come through the watches as well.

A watch can fall silent with nobody noticing: its task is gone, or its connection hangs. The process is alive, and sees
nothing. So each resync compares what it lists with what the watches delivered. An object whose version a watch has not
delivered is *owed*: it may be on its way. What is still owed at the next resync, and with nothing of that object
delivered in between, shows that the watch is silent. This proves the whole way, from the API server through kopf to our
handlers, with objects that are there anyway: a heartbeat object would need a write each time, from every installation,
and proves the watch of its own kind only. Where nothing changes there is nothing to prove, and nothing to miss.

An object that was delivered and is listed no more has *vanished*: its end was missed. What is neither behind nor
vanished is known as it is, without asking for it again.

Versions are opaque: they are compared for equality only. A watch may well be ahead of a list.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from evalrun_operator.kube.objects import Kind


@dataclass(slots=True)
class _Delivered:
    version: str
    turn: int
    """Of the watch's deliveries."""
    owner: Hashable


@dataclass(slots=True)
class _Watch:
    delivered: dict[str, _Delivered] = field(default_factory=dict)
    """By uid."""
    outstanding: dict[str, int] = field(default_factory=dict)
    """By uid: the turn at which it was found to be owed."""
    turn: int = 0


class Deliveries:
    """What the watches delivered, by kind. No clock, no client."""

    def __init__(self) -> None:
        self._watches: dict[Kind, _Watch] = {}

    def record(self, kind: Kind, uid: str, version: str, owner: Hashable = None) -> None:
        """A watch delivered this version of an object; ``owner`` is who should hear if its end is missed."""
        watch = self._of(kind)
        watch.turn += 1
        watch.delivered[uid] = _Delivered(version, watch.turn, owner)

    def record_deletion(self, kind: Kind, uid: str) -> None:
        """A watch delivered the object's end."""
        watch = self._of(kind)
        watch.turn += 1
        watch.delivered.pop(uid, None)
        watch.outstanding.pop(uid, None)

    def turn(self, kind: Kind) -> int:
        """To be taken before a list is asked for, and given to ``compare`` with its answer."""
        return self._of(kind).turn

    def compare(self, kind: Kind, listed: Mapping[str, str], turn: int) -> Comparison:
        """Hold a list, versions by uid, against what was delivered."""
        watch = self._of(kind)
        behind = {uid for uid, version in listed.items() if self._version(watch, uid) != version}
        overdue = {
            uid for uid in behind if uid in watch.outstanding and self._turn(watch, uid) <= watch.outstanding[uid]
        }
        watch.outstanding = {uid: watch.outstanding[uid] if uid in overdue else watch.turn for uid in behind}
        # One that was made while the list was on its way is not in it; it was delivered since.
        gone = [uid for uid, last in watch.delivered.items() if uid not in listed and last.turn <= turn]
        vanished = frozenset(watch.delivered.pop(uid).owner for uid in gone)
        unheard = frozenset(uid for uid in behind if self._turn(watch, uid) <= turn)
        return Comparison(frozenset(behind), unheard, frozenset(overdue), vanished)

    def still_outstanding(self, kind: Kind, uids: frozenset[str]) -> frozenset[str]:
        """Those of which nothing has been delivered since they were found to be owed."""
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
    """A list held against what a watch delivered; objects by uid."""

    behind: frozenset[str]
    """Listed in a version that the watch has not delivered: on its way, or missed."""
    unheard: frozenset[str]
    """Of those, the ones of which nothing was delivered since the list was asked for: the watch is not ahead."""
    overdue: frozenset[str]
    """So at the last comparison as well, with nothing of them delivered since."""
    vanished: frozenset[Hashable]
    """Owners of objects that were delivered and are listed no more."""
