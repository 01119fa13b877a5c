"""Object stores: a directory, S3, memory; behind one contract."""
