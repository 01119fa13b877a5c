"""The ledger: what is planned and what is committed, as objects of a store that cannot be half written."""
