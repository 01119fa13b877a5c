"""Items of a leaf task in the drawn order, cut so that no chunk goes beyond a look.

Few-shot examples depend on all documents before one, so items are always built in the order of their documents. They
wait in a temporary file until the last one is built: memory holds one entry of an item, however long its prompt is.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice

from evalrun_runner.errors import RunFailed
from evalrun_runner.planning.chunks import ChunkSizing, cut_chunks
from evalrun_runner.records.plan import Item

IN_MEMORY_BYTES = 16 * 1024 * 1024
"""Up to this size there is no file."""


def cut_drawn(items: Iterable[Item], sizing: ChunkSizing) -> Iterator[list[Item]]:
    """Yield the items of each chunk in the drawn order; a chunk ends with each look.

    Args:
        items: The items of one leaf task, in any order.
        sizing: The chunks' size, and the drawn order with its number of looks.

    Raises:
        RunFailed: The folder for temporary files is full.
    """
    order = sizing.order
    assert order is not None, "only drawn items are cut here"
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix="evalrun-items-") as file:
        entries: list[tuple[tuple[bytes, int], int, int]] = []
        end = 0
        for item in items:
            data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
            try:
                file.write(data)
            except OSError as error:
                raise RunFailed(
                    f"{tempfile.gettempdir()}: no room for the items of task {item.task!r} while their order is drawn "
                    f"({error.strerror or error}). Make room there, or set TMPDIR to another folder, and start the run "
                    "again"
                ) from error
            entries.append((order.key(item.task, item.doc_id), end, len(data)))
            end += len(data)
        entries.sort()

        def drawn() -> Iterator[Item]:
            for _, place, length in entries:
                file.seek(place)
                item: Item = pickle.loads(file.read(length))  # noqa: S301 (ours)
                yield item

        rest, taken = drawn(), 0
        for look in range(1, order.looks + 1):
            until = order.at_look(len(entries), look)
            yield from cut_chunks(islice(rest, until - taken), lambda item: item.cost, sizing)
            taken = until
