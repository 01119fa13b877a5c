"""The models as a structural schema, as Kubernetes requires it."""
