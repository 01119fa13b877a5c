"""The dashboards, one module each, and the parts of the larger ones."""
