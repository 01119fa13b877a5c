#!/bin/sh
# Package: statsmodels 0.15.0, statsmodels.stats.multitest.multipletests
#
# Behaviour: if one of the p-values is nan, `multipletests(p, method="fdr_bh")` returns nan as the adjusted
# p-value of every comparison, while the array of rejections beside it still marks the clear ones. The two
# results of one call contradict each other: `adjusted < 0.05` finds nothing, `rejected` finds them. Nothing is
# raised and nothing is warned of. `method="holm"` keeps the others.
#
# What one would have guessed: a nan stays a nan and the other comparisons are adjusted among themselves, as
# in R's p.adjust; or a refusal, as scipy.stats.false_discovery_control does.
#
# Cause: nan sorts to the end, which is where Benjamini-Hochberg starts its running minimum.
#
# Why it matters: a leaderboard of ten models has 45 pairwise comparisons, and two runs with the same answers
# have nan as their paired t-test. One model that was evaluated twice is enough to turn a table with many
# significant differences into one with none, if the table is made from the adjusted values.
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
import itertools
import sys
import warnings

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

warnings.simplefilter("error")

# Nine models of rising skill on 500 items; the tenth run is the ninth model again, with the same answers.
generator = np.random.default_rng(7)
difficulty = generator.uniform(0.2, 0.8, size=500)
answers = [(generator.uniform(size=500) < difficulty + 0.02 * skill).astype(float) for skill in range(9)]
answers.append(answers[-1].copy())
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # scipy warns of the pair without any difference, and returns nan
    p = np.array([stats.ttest_rel(a, b).pvalue for a, b in itertools.combinations(answers, 2)])
usable = p[~np.isnan(p)]

print(f"{len(p)} comparisons, {np.isnan(p).sum()} of them nan")
contradicts = []
for method in ("fdr_bh", "holm"):
    _, alone, _, _ = multipletests(usable, method=method)
    rejected, adjusted, _, _ = multipletests(p, method=method)
    print(f"  {method:<7} without the nan  adjusted < 0.05: {(alone < 0.05).sum()}")
    print(
        f"  {method:<7} with it          adjusted < 0.05: {(adjusted < 0.05).sum()}, rejected: {rejected.sum()}, "
        f"adjusted values that are nan: {np.isnan(adjusted).sum()}"
    )
    contradicts.append(
        (alone < 0.05).sum() > 0 and np.isnan(adjusted).all() and rejected.sum() > 0
        if method == "fdr_bh"
        else np.isnan(adjusted).sum() == 1
    )
try:
    stats.false_discovery_control(p)
except ValueError as error:
    print(f"  scipy.stats.false_discovery_control refuses: {error}")
sys.exit(0 if all(contradicts) else "one nan no longer voids the other adjusted p-values")
PYTHON
