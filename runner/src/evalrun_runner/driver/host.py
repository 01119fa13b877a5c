"""Host of a driver."""

from __future__ import annotations


class Host:
    """Host of a run on one machine, and base of others: receives the run's progress, and may stop the run."""

    def preflight_passed(self) -> None:
        """Note that everything was checked that can be checked before an engine loads."""

    def wait_for_ray(self) -> None:
        """Wait until Ray accepts connections at its address.

        Raises:
            RunFailed: Ray did not start.
        """

    def check(self) -> None:
        """Check that the run can continue on this host. Called continuously while replicas work.

        Raises:
            RunFailed: The run cannot continue.
        """
