"""Backends: the conversion of an attempt into objects of a cluster."""
