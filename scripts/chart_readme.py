"""Generator of the Helm chart's README: the comment above each value in values.yaml, as a table.

``python scripts/chart_readme.py > helm/evalrun/README.md``
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "helm" / "evalrun"
_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]\w*):")

HEAD = """\
<!-- Generated from values.yaml by `make generate`: do not edit. -->
# {name} {version}

{description}. Kubernetes {kubernetes}.

```
helm install evalrun helm/evalrun --namespace evalrun-system --create-namespace \\
  --set 'secrets.namespaces={{team-a,team-b}}'
```

To watch some namespaces only, with Roles in each of them and no rights in the whole cluster (an administrator applies
the CustomResourceDefinition first):

```
helm install evalrun helm/evalrun --namespace team-a --set 'watch.namespaces={{team-a}}' --set crds.install=false
```

## What it installs

- The operator: two pods of which a Lease elects one to work, with a PodDisruptionBudget; uid 1000, read-only root file
  system, no privileges. Runs continue without it.
- Its rights: EvalRuns, Jobs, pods (but not to create them), ConfigMaps, Services, NetworkPolicies, events; to create
  Secrets, and to read them only in `secrets.namespaces` or `watch.namespaces`. It may get nodes, to detect lost ones.
- Where it watches the whole cluster, ValidatingAdmissionPolicies that bound its own account to what belongs to runs.
- EvalRuns in Kubernetes' own roles `view`, `edit` and `admin`, by aggregation.
- A NetworkPolicy for the operator. The operator creates those of runs, from `networkPolicy`.
- Optionally monitors and rules of the Prometheus Operator, and dashboards for Grafana's sidecar (`metrics`): see
  docs/monitoring.md.

## Upgrades

`helm upgrade` upgrades the CustomResourceDefinition too: it is a template, because Helm never upgrades the contents of
a chart's `crds/`. Versions of the API are only added; objects stay as they are. A new operator stands by before the
old one hands over; running Jobs are not touched and keep the image they began with.

`helm uninstall` leaves the CustomResourceDefinition, with all EvalRuns and their pods (`helm.sh/resource-policy:
keep`). A release of the same name and namespace adopts it again; another one needs `--take-ownership`. To remove
everything except results in the store: `kubectl delete crd evalruns.evalrun.dev`.

If you may not install CustomResourceDefinitions by Helm, set `crds.install=false`, and before each upgrade an
administrator runs `kubectl apply --server-side -f crds/evalrun.dev_evalruns.yaml`.

## Values

| value | default | |
|---|---|---|
"""


@dataclass(frozen=True)
class Value:
    """A key of values.yaml with a comment above it."""

    path: tuple[str, ...]
    comment: str


def documented(text: str) -> Iterator[Value]:
    """Yield the keys with a comment right above them, in the order of the file."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
            continue
        if (found := _KEY.match(line)) is not None:
            del path[len(found["indent"]) // 2 :]
            path.append(found["key"])
            if comment:
                yield Value(tuple(path), " ".join(comment))
        comment = []


def at(values: Any, path: tuple[str, ...]) -> Any:
    """Return the value at a path."""
    for key in path:
        values = values[key]
    return values


def rows(text: str) -> Iterator[str]:
    """Yield the lines of the table: a section for a key whose own keys are documented, a value for any other."""
    values = yaml.safe_load(text)
    every = list(documented(text))
    sections = {value.path[:-1] for value in every}
    for value in every:
        name, comment = ".".join(value.path), value.comment.replace("|", "\\|")
        if value.path in sections:
            yield f"| **{name}** | | **{comment}** |"
        else:
            yield f"| `{name}` | `{json.dumps(at(values, value.path), ensure_ascii=False)}` | {comment} |"


def readme() -> str:
    """Build the whole page."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    head = HEAD.format(
        name=chart["name"],
        version=chart["version"],
        description=chart["description"],
        kubernetes=chart["kubeVersion"].removesuffix("-0").replace(">=", "≥ "),
    )
    return head + "\n".join(rows((CHART / "values.yaml").read_text())) + "\n"


if __name__ == "__main__":
    sys.stdout.write(readme())
