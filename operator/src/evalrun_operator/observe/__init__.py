"""Every read of the cluster."""
