"""The EvalRun control plane: watches EvalRun objects, decides, applies."""
