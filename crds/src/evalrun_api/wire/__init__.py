"""What operator and runner exchange, and what a run leaves."""
