"""The observed state of a run, the desired state, and the protocol of a backend."""
