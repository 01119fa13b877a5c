"""The proof that watches work: what lists show must have come through the watches as well.

A watch can fall silent with nobody noticing: its task is gone, or its connection hangs. The process is alive, and sees
nothing. So each resync compares what it lists with what the watches delivered. An object whose version a watch has not
delivered is *owed*: it may be on its way. What is still owed at the next resync, and with nothing of that object
delivered in between, shows that the watch is silent. This proves the whole way, from the API server through kopf to our
handlers, with objects that are there anyway: a heartbeat object would need a write each time, from every installation,
and proves the watch of its own kind only. Where nothing changes there is nothing to prove, and nothing to miss.

Versions are opaque: they are compared for equality only. A watch may well be ahead of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from evalrun_operator.changes import Kind


@dataclass(slots=True)
class _Delivered:
    version: str
    turn: int
    """Of the watch's deliveries."""


@dataclass(slots=True)
class _Watch:
    delivered: dict[str, _Delivered] = field(default_factory=dict)
    """By uid."""
    owed: dict[str, int] = field(default_factory=dict)
    """By uid: the turn at which it was found to be owed."""
    turn: int = 0


class Watched:
    """What the watches delivered, by kind. No clock, no client."""

    def __init__(self) -> None:
        self._watches: dict[Kind, _Watch] = {}

    def saw(self, kind: Kind, uid: str, version: str) -> None:
        """A watch delivered this version of an object."""
        watch = self._of(kind)
        watch.turn += 1
        watch.delivered[uid] = _Delivered(version, watch.turn)

    def gone(self, kind: Kind, uid: str) -> None:
        """A watch delivered the object's end."""
        watch = self._of(kind)
        watch.turn += 1
        watch.delivered.pop(uid, None)
        watch.owed.pop(uid, None)

    def turn(self, kind: Kind) -> int:
        """To be taken before a list is asked for, and given to ``compare`` with its answer."""
        return self._of(kind).turn

    def compare(self, kind: Kind, listed: Mapping[str, str], turn: int) -> Comparison:
        """Hold a list, versions by uid, against what was delivered."""
        watch = self._of(kind)
        behind = {uid for uid, version in listed.items() if self._version(watch, uid) != version}
        overdue = {uid for uid in behind if uid in watch.owed and self._turn(watch, uid) <= watch.owed[uid]}
        watch.owed = {uid: watch.owed[uid] if uid in overdue else watch.turn for uid in behind}
        # What is listed no more and was not delivered since is gone: nothing of it is kept.
        for uid in [uid for uid, last in watch.delivered.items() if uid not in listed and last.turn <= turn]:
            del watch.delivered[uid]
        return Comparison(frozenset(behind), frozenset(overdue))

    def still_owed(self, kind: Kind, uids: frozenset[str]) -> frozenset[str]:
        """Those of which nothing has been delivered since they were found to be owed."""
        watch = self._of(kind)
        return frozenset(uid for uid in uids if uid in watch.owed and self._turn(watch, uid) <= watch.owed[uid])

    def _of(self, kind: Kind) -> _Watch:
        return self._watches.setdefault(kind, _Watch())

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
    """A list held against what a watch delivered. Both by uid."""

    behind: frozenset[str]
    """Listed in a version that the watch has not delivered: on its way, or missed."""
    overdue: frozenset[str]
    """So at the last comparison as well, with nothing of them delivered since."""
