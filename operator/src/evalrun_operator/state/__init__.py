"""What is observed of a run, what is desired, and what a backend must offer."""
