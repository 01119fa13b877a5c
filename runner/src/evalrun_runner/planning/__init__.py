"""From loaded benchmarks to durable manifest segments, and what a resumed run reuses."""
