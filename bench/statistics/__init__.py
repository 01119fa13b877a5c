"""Proof of the intervals: how often each default holds the true value. One module a table; `tables` has their order."""
