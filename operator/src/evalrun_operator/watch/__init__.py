"""Watches and the proof that they work: events become keys on the queue."""
