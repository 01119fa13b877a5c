"""A replica: leases in, parts out.

Four threads, each with one thing to wait for: ``intake`` reads leased items and makes their engine calls, ``engine``
steps, ``commit`` scores (in a process of its own) and writes parts, and the caller's ``exchange`` talks to the driver.
What they do is decided by ``state``, which knows of no thread; ``assembly`` composes the whole.
"""
