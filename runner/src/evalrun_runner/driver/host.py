"""Who runs a driver, as the driver sees it."""

from __future__ import annotations


class Host:
    """Told how far the run is, asked whether it can go on. This one, of a run on one machine, has no wishes."""

    def preflight_passed(self) -> None:
        """Everything that can be found wrong before an engine loads was looked at."""

    def wait_for_ray(self) -> None:
        """Return once Ray's address can be connected to. Raises ``RunFailed``."""

    def check(self) -> None:
        """Raises ``RunFailed`` if the run cannot go on here. Called all the time while replicas work."""
