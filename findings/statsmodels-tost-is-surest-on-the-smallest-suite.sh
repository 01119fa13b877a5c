#!/bin/sh
# Package: statsmodels 0.15.0, statsmodels.stats.weightstats.ttost_paired
#
# Behaviour: the paired equivalence test (TOST) of two runs that answer four items alike says p = 0.0: they are
# equivalent within two points, with certainty. It says the same of two items, and for any margin above zero.
# With one answer that differs among 60 items it says p = 0.42.
#
# What one would have guessed: four items cannot show that two models differ by less than two points. If none
# of n pairs differs, a share of up to 3/n of all pairs may still (95%): for two points that takes about 130
# pairs, and four leave room for more than 50 points.
#
# Cause: the t statistic divides by the standard deviation of the differences, which is 0.
#
# Why it matters: equivalence is what one tests when a quantized, merged or recompiled model must not be worse.
# Such a model gives the same verdict on most items, so a small suite often shows no difference at all; then
# the less was evaluated, the surer the test is.
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
import warnings

import numpy as np
from statsmodels.stats.weightstats import ttost_paired

warnings.simplefilter("ignore")  # numpy's "divide by zero", which names neither the test nor the data

MARGIN = 0.02
found = {}
for items in (2, 4, 60, 1000):
    right = np.arange(items) % 4 != 0
    for lost in (0, 1):
        other = right.copy()
        other[1] ^= bool(lost)
        p, *_ = ttost_paired(right.astype(float), other.astype(float), -MARGIN, MARGIN)
        found[items, lost] = p
        print(f"{items:5} items, {lost} answered otherwise: equivalent within {MARGIN:.0%}, p = {p:.2g}")

unchanged = found[2, 0] == found[4, 0] == 0 and found[60, 1] > 0.3
sys.exit(0 if unchanged else "identical answers are no longer equivalent with certainty")
PYTHON
