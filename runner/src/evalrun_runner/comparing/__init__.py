"""Comparison of runs item by item: what has scores is read into one shape, paired, and compared.

Read in this order: ``scored`` (what a run of item scores is), ``facts`` (what must agree), ``evalrun_output``,
``lm_eval_output`` and ``score_table`` (who reads what), ``opening`` (which of them), ``matching`` and ``pairing``,
``two`` and ``comparison`` (two runs), ``ranking`` (more).
"""
