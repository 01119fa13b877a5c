"""Bringing a model to a local directory, verified."""
