"""A user's own suites: fetched, checked against the policy, rendered in a sandbox."""
