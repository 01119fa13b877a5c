"""The API server: client, errors, kinds and changes of objects, work queue."""
