"""Object stores with one interface: a directory, S3, memory."""
