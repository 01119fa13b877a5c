"""The driver: one process that takes a RunConfig to scores.

Read in this order: ``prepare`` (preflight), ``planning``, ``loop`` (dispatch), ``finish`` (verify, aggregate, gates,
COMPLETE); ``run`` puts them together.
"""
