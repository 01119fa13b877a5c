"""What the operator reports about a run."""
