"""Periodic comparison of the watches with a list; runs that they missed are enqueued."""

from __future__ import annotations

import asyncio
import logging
import random
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from evalrun_operator.kube.client import Client
from evalrun_operator.kube.errors import ApiError, Forbidden, NoCluster, NotFound, Unavailable
from evalrun_operator.kube.objects import EVALRUNS, Kind
from evalrun_operator.observe.observer import Key
from evalrun_operator.watch.deliveries import Comparison, Deliveries
from evalrun_operator.watch.events import CHILDREN, Owners
from evalrun_operator.watch.namespaces import RefusedNamespaces

logger = logging.getLogger(__name__)

PATIENCE = 1 / 6
"""Fraction of the resync period for which an overdue object may still be on its way."""
UNAUTHORIZED = 401
"""HTTP status of a process whose credentials are refused: another one reads them anew."""
WHOLE = 10
"""Resyncs within which every run is enqueued once, whether anything was missed or not: each time other ones."""


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Resync:
    """Periodic list of everything, metadata only, as fresh as the store, so that a missed change is found soon.

    ``ready``: it has succeeded once. ``silent``: a watch that does not deliver what exists; it stays set, because only
    a new process can be trusted to watch again. ``failing_since``: time of the event loop since when lists are
    rejected; an unavailable API server, which a restart would not help, does not count.
    """

    client: Client
    changed: Callable[[Key], None]
    """Called with each run that has to be reconciled."""
    deliveries: Deliveries
    kinds: tuple[Kind, ...]
    """The watched kinds, EvalRuns first."""
    namespaces: tuple[str, ...]
    """The watched namespaces; none: all."""
    period: float
    """Seconds between two resyncs."""
    owners: Owners = field(default_factory=Owners)
    refused: RefusedNamespaces = field(default_factory=RefusedNamespaces)
    ready: bool = False
    silent: str | None = None
    failing_since: float | None = None
    times: int = 0
    _began: float = field(default_factory=_now)
    _listed_at: float | None = None
    _unheard: dict[_Watch, tuple[float, frozenset[str]]] = field(default_factory=dict)
    """Objects outstanding at the last comparison of each watch, and its time."""
    _proven_at: dict[_Watch, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Resync forever. Raises ``NoCluster`` if the API server knows no EvalRuns."""
        self._began = _now()  # an operator that stood by did not list until now
        while True:
            try:
                await self.once()
                self.ready, self.failing_since = True, None
            except NotFound as error:
                raise NoCluster(f"the API server knows no EvalRuns: {error}; hint: install the chart's CRDs") from error
            except ApiError as error:
                self._failed(error)
            await asyncio.sleep(self.period)

    def _failed(self, error: ApiError) -> None:
        """Record a failure: a restart may help where this process is refused, never where the API server is down."""
        down = isinstance(error, Unavailable) and error.status != UNAUTHORIZED
        logger.log(logging.WARNING if down else logging.ERROR, "resync: %s", error)
        self.failing_since = None if down else self.failing_since or _now()

    async def once(self) -> None:
        """Find what the watches missed, and watches that are silent.

        Raises:
            ApiError: A list failed; refusals in some of several namespaces stop only those.
        """
        left_alone = {place for place in self.namespaces if self.refused.has_unreadable_runs(place)}
        by_kind = await asyncio.gather(*(self._compare_places(kind) for kind in self.kinds))
        seen = [one for some in by_kind for one in some]
        self._listed_at = _now()
        self.owners.forget_unused()
        missed = {owner for one in seen for owner in (*one.comparison.behind.values(), *one.comparison.vanished)}
        back = {place for place in left_alone if not self.refused.has_unreadable_runs(place)}
        missed |= {key for one in seen if one.place in back for key in one.runs}
        for key in missed:
            if isinstance(key, Key):
                self.changed(key)
        self.times += 1
        for key in (key for one in seen for key in one.runs):
            if zlib.crc32(str(key).encode()) % WHOLE == self.times % WHOLE:
                later = random.uniform(0, self.period)
                asyncio.get_running_loop().call_later(later, self.changed, key)
        await self._judge(seen)

    def age(self) -> float:
        """Return the seconds since everything was last listed, or since the operator started."""
        return _now() - (self._began if self._listed_at is None else self._listed_at)

    def watch_age(self, kind: Kind) -> float:
        """Return the seconds since the last list that came through the watch completely, or since the start.

        It is that of the oldest watch, without those of refused namespaces, which are reported by themselves.
        """
        places = self._places()
        proven = []
        for place in [place for place in places if not self._is_refused(place)] or places:
            self._prove((kind, place))
            proven.append(self._proven_at.get((kind, place), self._began))
        return _now() - min(proven)

    def _places(self) -> tuple[str | None, ...]:
        return self.namespaces or (None,)

    def _is_refused(self, place: str | None) -> bool:
        return place is not None and self.refused.is_refused(place)

    def _prove(self, watch: _Watch) -> None:
        """Mark the last comparison as proven if everything that was outstanding then has been delivered."""
        at, unheard = self._unheard.get(watch, (0.0, None))
        kind, place = watch
        if unheard is not None and not self.deliveries.still_outstanding(kind, unheard, place):
            self._proven_at[watch] = at

    async def _compare_places(self, kind: Kind) -> list[_Seen]:
        """Compare a kind in every place. Raises the last refusal if every namespace refuses."""
        seen: list[_Seen] = []
        refusal: ApiError | None = None
        # One object after the other: there may be tens of thousands of them.
        for place in self._places():
            words: str | None = None
            try:
                seen.append(await self._compare(kind, place))
            except (Forbidden, NotFound) as error:
                refusal, words = error, error.message
            if place is not None:
                self.refused.listed(place, kind.plural, words)
        if refusal is not None and not seen:
            raise refusal
        return seen

    async def _compare(self, kind: Kind, place: str | None) -> _Seen:
        listing = self.deliveries.listing(kind, place)
        selector = "" if kind is EVALRUNS else CHILDREN
        runs: set[Key] = set()
        async for one in self.client.list_metadata(kind, place, selector):
            metadata = one["metadata"]
            key = self.owners.key_of(kind, metadata)
            listing.see(metadata["uid"], metadata["resourceVersion"], key)
            if kind is EVALRUNS and key is not None:
                runs.add(key)
        self._prove((kind, place))
        comparison = listing.end()
        self._unheard[kind, place] = (_now(), comparison.unheard)
        return _Seen(kind, place, comparison, frozenset(runs))

    async def _judge(self, seen: Iterable[_Seen]) -> None:
        overdue = [one for one in seen if one.comparison.overdue and not self._is_refused(one.place)]
        if not overdue:
            return
        await asyncio.sleep(self.period * PATIENCE)
        for one in overdue:
            still = self.deliveries.still_outstanding(one.kind, one.comparison.overdue, one.place)
            if still:
                keys = sorted({str(one.comparison.overdue[uid]) for uid in still})
                where = "" if one.place is None else f" in namespace {one.place}"
                self.silent = (
                    f"the watch of {one.kind.plural}{where} is silent: {len(still)} changes were not delivered"
                )
                logger.error("%s, of %s", self.silent, ", ".join(keys[:10]))


_Watch = tuple[Kind, str | None]
"""A kind, and the namespace that is watched by itself; None: all that are watched together."""


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: Kind
    place: str | None
    comparison: Comparison
    runs: frozenset[Key]
    """Every run, if it is runs that were listed."""
