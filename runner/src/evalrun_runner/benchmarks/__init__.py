"""lm-eval as a library: the one room that imports ``lm_eval`` and ``datasets``.

Read in this order: ``recipe`` (what a benchmark is), ``suites.policy`` (what a suite may contain), ``registry`` (how
tasks are found and made), ``load`` (the run's leaf tasks), ``build`` (documents to items), ``score`` (responses to
metric values), ``aggregate`` (metric values to lm-eval's results). Importing this package itself imports none of them.
"""
