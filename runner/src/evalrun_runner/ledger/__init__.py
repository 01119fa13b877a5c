"""Ledger of planned and committed work, as objects that a store writes atomically."""
