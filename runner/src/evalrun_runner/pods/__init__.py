"""Entry points of a run's pods: ``evalrun-driver`` (driver and Ray's head) and ``evalrun-replica`` (a Ray node).

A replica's pod asks the driver over HTTP what to do (``head_client``, ``replica_policy``): join, leave, or wait. In
both pods, Ray is a child process (``ray_node``) that the pod starts and ends, but never waits for.
"""
