"""Execution of code that a model wrote, program by program, in a sandbox without network, files, secrets or others.

``pool`` is the door. A sandbox that cannot be set up is an error with a name: nothing ever runs outside of one.
"""
