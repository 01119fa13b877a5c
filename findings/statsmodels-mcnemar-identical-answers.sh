#!/bin/sh
# Package: statsmodels 0.15.0, statsmodels.stats.contingency_tables.mcnemar
#
# Behaviour: `mcnemar(table, exact=False)`, the chi-squared form with its usual continuity correction, gives
# statistic inf and p = 0.0 for two models that answer every item alike. The exact form gives p = 1 for the
# same table, and the chi-squared form without the correction gives nan.
#
# What one would have guessed: no discordant pair means no evidence, so p = 1, or a refusal.
#
# Cause: the corrected statistic is (|b - c| - 1)^2 / (b + c); with b = c = 0 it is 1/0, which is infinite.
# For the same reason b = c > 0, the perfect tie, has a statistic above 0.
#
# Why it matters: "nothing changed" is a frequent outcome of comparing two evaluation runs: a deterministic
# model run twice, a refactored prompt, a small suite. A gate that reads p < 0.05 as "the candidate differs"
# fires with full certainty exactly where the two runs are the same.
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
import math
import sys
import warnings

from statsmodels.stats.contingency_tables import mcnemar

warnings.simplefilter("ignore")  # numpy's "divide by zero", which names neither the test nor the table

tables = {
    "300 right in both, 200 wrong in both": [[300, 0], [0, 200]],
    "the same with 5 lost and 5 gained": [[295, 5], [5, 195]],
}
for what, table in tables.items():
    print(what)
    for label, options in [
        ("exact", {"exact": True}),
        ("chi-squared, corrected", {"exact": False}),
        ("chi-squared, uncorrected", {"exact": False, "correction": False}),
    ]:
        result = mcnemar(table, **options)
        print(f"  {label:<25} statistic {result.statistic:<6.3g} p = {result.pvalue:.3g}")

same = tables["300 right in both, 200 wrong in both"]
chi = mcnemar(same, exact=False)
unchanged = mcnemar(same, exact=True).pvalue == 1 and math.isinf(chi.statistic) and chi.pvalue == 0
sys.exit(0 if unchanged else "identical answers are no longer reported as p = 0")
PYTHON
