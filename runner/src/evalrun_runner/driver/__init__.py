"""The driver: one process that turns a RunConfig into scores.

Read in this order: ``preflight``, ``planning``, ``loop`` (dispatch), ``finish`` (verify, aggregate, gates, COMPLETE);
``run`` combines them.
"""
