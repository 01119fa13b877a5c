"""Watches and their proof: events become keys on the queue."""
