"""Replicas as Ray actors, and the nodes of a Ray cluster."""
