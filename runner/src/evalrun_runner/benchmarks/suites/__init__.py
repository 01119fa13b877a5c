"""Users' own suites: fetched, checked against the suite policy, and rendered in a sandbox."""
