"""The models as a structural schema, as Kubernetes wants it."""
