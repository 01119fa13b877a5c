"""What users write: one file for each block of an EvalRun."""
