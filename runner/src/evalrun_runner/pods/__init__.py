"""The entry points of a run's pods: ``evalrun-driver`` (driver and Ray's head) and ``evalrun-replica`` (a Ray node).

A replica's pod asks the driver over HTTP what it is to do (``following``, ``deciding``): join, leave, or wait. Ray
itself is a child of both (``ray_node``), started and ended by them, never waited for.
"""
