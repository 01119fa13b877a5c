"""The driver over HTTP: progress for the operator, metrics for Prometheus, the head for replicas."""
