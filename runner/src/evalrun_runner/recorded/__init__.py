"""Recorded answers: those of a finished run, or of a file, which are scored without an engine.

Nothing here scores. An item gets its recorded answer only if the answer was given to the item's own requests; any other
item ends as failed, by name, and never with a score.
"""
