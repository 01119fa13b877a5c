"""Metrics for Prometheus: of each run (``runs``), of the operator (``operator``), as one page (``exposition``)."""
