"""The driver over HTTP: progress for the operator, metrics for Prometheus, the head's state for replicas."""
