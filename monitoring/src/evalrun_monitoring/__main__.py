"""Command ``python -m evalrun_monitoring FOLDER``: write each dashboard to ``FOLDER/<uid>.json``."""

from __future__ import annotations

import sys
from pathlib import Path

from evalrun_monitoring.boards import dashboards
from evalrun_monitoring.page import to_json


def main(folder: Path) -> None:
    """Write all dashboards; remove the files of dashboards that no longer exist."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {folder / f"{board.uid}.json": to_json(board) for board in dashboards()}
    for stale in set(folder.glob("*.json")) - set(written):
        stale.unlink()
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
