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

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from evalrun_operator.kube.objects import Kind


@dataclass(slots=True)
class _Delivered:
    version: str
    turn: int
    """Number of the delivery among those of the watch."""
    owner: Hashable
    listing: int = 0
    """Number of the last listing that it was in."""


@dataclass(slots=True)
class _Watch:
    delivered: dict[str, _Delivered] = field(default_factory=dict)
    """Last delivery by uid."""
    outstanding: dict[str, int] = field(default_factory=dict)
    """By uid: the turn at which the object was found to be outstanding."""
    turn: int = 0
    listings: int = 0

    def heard(self, uid: str) -> int:
        """Return the turn of the last delivery of an object; 0 without one."""
        last = self.delivered.get(uid)
        return 0 if last is None else last.turn

    def is_outstanding(self, uid: str) -> bool:
        """Check that nothing about an object was delivered since it was found to be outstanding."""
        return uid in self.outstanding and self.heard(uid) <= self.outstanding[uid]


class Deliveries:
    """Deliveries of the watches, by kind and place. It has no clock and no client.

    A place is a namespace that is watched by itself, and None for all that are watched together.
    """

    def __init__(self) -> None:
        self._watches: dict[tuple[Kind, str | None], _Watch] = {}

    def record(self, kind: Kind, uid: str, version: str, owner: Hashable = None, place: str | None = None) -> None:
        """Record that a watch delivered this version of an object.

        Args:
            kind: The kind of the watch.
            uid: The object.
            version: Its resource version.
            owner: What to return as vanished if the object's deletion is missed.
            place: Where the watch is.
        """
        watch = self._of(kind, place)
        watch.turn += 1
        last = watch.delivered.get(uid)
        if last is None:
            watch.delivered[uid] = _Delivered(version, watch.turn, owner)
        else:
            last.version, last.turn, last.owner = version, watch.turn, owner

    def record_deletion(self, kind: Kind, uid: str, place: str | None = None) -> None:
        """Record that a watch delivered the deletion of an object."""
        watch = self._of(kind, place)
        watch.turn += 1
        watch.delivered.pop(uid, None)
        watch.outstanding.pop(uid, None)

    def listing(self, kind: Kind, place: str | None = None) -> ComparedList:
        """Begin to compare a list with the deliveries: before it is requested."""
        return ComparedList(self._of(kind, place))

    def still_outstanding(self, kind: Kind, uids: Iterable[str], place: str | None = None) -> frozenset[str]:
        """Return those about which nothing was delivered since they were found to be outstanding."""
        watch = self._of(kind, place)
        return frozenset(uid for uid in uids if watch.is_outstanding(uid))

    def _of(self, kind: Kind, place: str | None) -> _Watch:
        return self._watches.setdefault((kind, place), _Watch())


class ComparedList:
    """A list that is compared object by object, so that none of it has to be kept."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        self._turn = watch.turn
        watch.listings += 1
        self._number = watch.listings
        self._differing: dict[str, tuple[str, Hashable]] = {}
        """Versions and owners by uid."""

    def see(self, uid: str, version: str, owner: Hashable = None) -> None:
        """Compare one object of the list."""
        last = self._watch.delivered.get(uid)
        if last is not None:
            last.listing = self._number
            if last.version == version:
                return
        self._differing[uid] = (version, owner)

    def end(self) -> Comparison:
        """Return what was found, once the whole list was seen."""
        watch = self._watch
        behind = {
            uid: owner for uid, (version, owner) in self._differing.items() if not _is_delivered(watch, uid, version)
        }
        overdue = {uid: owner for uid, owner in behind.items() if watch.is_outstanding(uid)}
        watch.outstanding = {uid: watch.outstanding[uid] if uid in overdue else watch.turn for uid in behind}
        # An object that was created after the list was requested is not in it, but has been delivered since.
        gone = [
            uid for uid, last in watch.delivered.items() if last.listing != self._number and last.turn <= self._turn
        ]
        vanished = frozenset(watch.delivered.pop(uid).owner for uid in gone)
        unheard = frozenset(uid for uid in behind if watch.heard(uid) <= self._turn)
        return Comparison(behind, unheard, overdue, vanished)


def _is_delivered(watch: _Watch, uid: str, version: str) -> bool:
    last = watch.delivered.get(uid)
    return last is not None and last.version == version


@dataclass(frozen=True, slots=True)
class Comparison:
    """A list compared with the deliveries of a watch; owners of objects by uid."""

    behind: Mapping[str, Hashable]
    """Listed in a version that the watch has not delivered: on its way, or missed."""
    unheard: frozenset[str]
    """Those of ``behind`` without a delivery since the list was requested: the watch is not ahead of it."""
    overdue: Mapping[str, Hashable]
    """Behind in two consecutive comparisons, with no delivery in between."""
    vanished: frozenset[Hashable]
    """Owners of objects that were delivered and are not listed any more."""
