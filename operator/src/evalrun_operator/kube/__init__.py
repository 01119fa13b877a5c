"""The API server: the client, its errors, kinds and changes of objects, the work queue."""
