"""The EvalRun data plane.

A run reads in this order: ``plan`` (requests, once) -> ``dispatch`` (leases) -> ``replica`` (engine, score,
commit) -> ``ledger`` (parts) -> ``aggregate`` (results.json). ``driver`` puts them together.
"""
