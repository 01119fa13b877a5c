"""What the operator reports of a run."""
