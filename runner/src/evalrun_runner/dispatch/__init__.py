"""Which replica runs which chunk: pure decisions, without Ray, threads, clock or randomness."""
