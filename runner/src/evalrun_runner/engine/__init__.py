"""Engines, on which replicas run requests.

``protocol`` defines what a replica needs from an engine, ``requests`` plans an item's engine calls as lm-eval does,
``vllm`` is the real engine, and ``mock`` the deterministic one for tests, which is named in every result.
"""
