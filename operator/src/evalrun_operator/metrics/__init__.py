"""What Prometheus is told: of each run (``runs``), of the operator (``operator``), as one page (``exposition``)."""
