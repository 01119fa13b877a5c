"""Engines: what a replica runs requests on.

``protocol`` says what a replica needs of an engine, ``forms`` turns items into engine calls as lm-eval does,
``vllm`` is the real engine, ``mock`` the deterministic one for tests, which says so in every result.
"""
