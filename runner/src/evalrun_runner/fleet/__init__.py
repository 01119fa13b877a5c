"""The one room for Ray: replicas as actors, nodes as they come and go."""
