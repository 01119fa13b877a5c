#!/bin/sh
# Package: statsmodels 0.15.0, OLS(...).fit(cov_type="cluster")
#
# Behaviour: a model with cluster-robust standard errors computes the right degrees of freedom, one less than
# the number of clusters, keeps them in `df_resid_inference`, and does not use them: `use_t` is off, so that
# `conf_int()` and `pvalues` take the normal distribution. With five clusters a nominal 95% interval is 29%
# narrower than the one of its own degrees of freedom, and covers the truth about as often as an 85% one.
#
# What one would have guessed: that who asks for clusters gets an interval for that many clusters. `use_t=True`
# gives it, and without a cluster argument OLS does use t.
#
# Why it matters: reading-comprehension and multi-turn benchmarks ask several questions about one passage, and
# suites of a team often have five to twenty passages. The usual recipe for such scores is this very call on a
# constant. What it prints looks careful, and a difference between two models is found three times as often as
# the confidence level promises.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet uv
    uv=$work/tools/bin/uv
fi
"$uv" venv --quiet --python "$(command -v python3)" "$work/venv"
"$uv" pip install --quiet --python "$work/venv" statsmodels==0.15.0 scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import statsmodels.api as sm

PASSAGES, QUESTIONS, RUNS = 5, 8, 2000
rng = np.random.default_rng(1)
passage = np.repeat(np.arange(PASSAGES), QUESTIONS)
covered = {False: 0, True: 0}
narrower = 0.0
for _ in range(RUNS):
    # Beta-binomial: accuracy 0.5 on average, correlation 0.2 within a passage.
    accuracy = rng.beta(2, 2, PASSAGES)
    right = (rng.random(passage.size) < accuracy[passage]).astype(float)
    if right.std() == 0:
        continue
    for use_t in (False, True):
        asked = {"use_t": True} if use_t else {}
        fitted = sm.OLS(right, np.ones(right.size)).fit(
            cov_type="cluster", cov_kwds={"groups": passage}, **asked
        )
        low, high = fitted.conf_int()[0]
        covered[use_t] += low <= 0.5 <= high
        if not use_t:
            normal, freedom, was_used = high - low, fitted.df_resid_inference, fitted.use_t
        else:
            narrower = 1 - normal / (high - low)

print(f"{PASSAGES} passages of {QUESTIONS} questions, true accuracy 0.5, {RUNS} repetitions")
print(f"  degrees of freedom that the fit keeps: {freedom:g}; use_t: {was_used}")
print(f"  its 95% interval is {narrower:.0%} narrower than with these degrees of freedom")
print(f"  the truth is inside: {covered[False] / RUNS:.1%} as it is, {covered[True] / RUNS:.1%} with use_t=True")

unchanged = (
    freedom == PASSAGES - 1
    and not was_used
    and covered[False] / RUNS < 0.88 < covered[True] / RUNS
)
sys.exit(0 if unchanged else "the interval of clustered data now uses its degrees of freedom")
PYTHON
