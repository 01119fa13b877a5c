"""Backends: how an attempt becomes objects of a cluster."""
