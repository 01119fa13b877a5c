"""The plan: items cut into chunks (``chunks``, pure) and made durable in segments (``planner``)."""
