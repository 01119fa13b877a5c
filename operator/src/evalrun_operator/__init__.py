"""The EvalRun control plane, to come: watches EvalRun objects, decides, applies."""
