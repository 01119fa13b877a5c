# Commands of the project. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/evalrun
UV_VERSION := 0.13.9
# The uv on the PATH if there is one, else a pinned one in the cache, from the package index.
UV := $(or $(shell command -v uv 2>/dev/null),$(CACHE)/uv-$(UV_VERSION)/bin/uv)
export PATH := $(dir $(UV)):$(PATH)
# If this is set, every process compiles torch and vLLM from source again, which doubles the CPU time of a replica's start.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
EXTRA ?= $(shell scripts/which_extra.sh)
MODEL := $(CACHE)/models/smollm2-135m-instruct
BIN := .venv/bin

.PHONY: browser help install hooks check quickstart test lint unit integration parity images e2e e2e-all bench bench-before wheels generate clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(CACHE)/uv-$(UV_VERSION)/bin/uv:
	$(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION)
	$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)

install: $(UV) ## Install everything into .venv, from uv.lock
	@echo "engine: the $(EXTRA) extra of evalrun-runner ($$(scripts/which_extra.sh --why))"
	$(UV) sync --locked --all-packages --extra $(EXTRA)

quickstart: install ## Let a real model answer 200 questions on this machine
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(BIN)/evalrun run examples/quickstart.yaml --output runs/quickstart --set spec.model.uri=file://$(MODEL)

# Tests of pure decisions, which are fast.
FAST := $(addprefix tests/unit/,runner/dispatch runner/pods runner/store operator/test_plan.py)

check: lint ## Run lint, types and the fastest unit tests (seconds), like the git hook
	$(BIN)/pytest -q $(FAST)

hooks: ## Run `make check` before each commit
	git config core.hooksPath .githooks

test: install cluster-programs lint unit integration ## Run lint, types, unit, simulation and integration tests (8 minutes)

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit:
	$(BIN)/pytest -q -n 2 --dist worksteal tests/unit tests/simulation

# Without a browser, tests that need one are skipped.
browser: ## Bring the headless Chromium that tests look at reports with
	@scripts/chromium.sh || [[ -z "$${CI:-}" ]]

integration: browser
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not engine" tests/integration

parity: install ## Compare a live model in lm-eval's own vLLM back end with EvalRun (minutes)
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(BIN)/python scripts/small_model.py --tiny
	$(BIN)/pytest -q -n 2 --dist loadfile -m engine tests/integration

images: ## Build the images of operator and runner, with Docker or buildah
	scripts/images.sh

E2E := $(BIN)/pytest -v -s --durations=20 tests/e2e

e2e: cluster-tools images ## Test one story on a real Kubernetes on this machine: runs, kills of every part, an upgrade, a Prometheus (minutes)
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(E2E) -m story

e2e-all: cluster-tools images ## Test that story, every other fault, the wheels, and the test cluster itself (40 minutes)
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(BIN)/pytest -q tests/cluster
	$(E2E)

include tests/cluster/cluster.mk

bench: install ## Measure the benchmarks and the intervals, and write docs/benchmarks.md and docs/statistics.md
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(BIN)/python -m bench --model $(MODEL) --write docs/benchmarks.md
	$(BIN)/python -m bench.statistics --write docs/statistics.md

bench-before: install ## Measure this tree and the commit REV side by side; options: ROUNDS=3, ONLY="toy dispatch", QUICK=1
	@[[ -n "$(REV)" ]] || { echo "which commit? make bench-before REV=main" >&2; exit 2; }
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	$(BIN)/python -m bench.before --model $(MODEL) --rev $(REV) --rounds $(or $(ROUNDS),1) $(addprefix --only ,$(ONLY)) $(if $(QUICK),--quick)

wheels: $(UV) ## Build the wheels of the packages into dist, with the version of the git tag
	scripts/wheels.sh dist

generate: install ## Generate the CRD, tables of fields, metrics and engine arguments, dashboards, the chart's copies
	$(BIN)/python crds/generate/engine_args.py > crds/src/evalrun_api/spec/engine_args.py.new
	mv crds/src/evalrun_api/spec/engine_args.py.new crds/src/evalrun_api/spec/engine_args.py
	$(BIN)/ruff format --quiet crds/src/evalrun_api/spec/engine_args.py
	$(BIN)/python -m evalrun_api.schema.crd > crds/evalrun.dev_evalruns.yaml
	$(BIN)/python crds/generate/reference.py > docs/reference.md
	$(BIN)/python crds/generate/metrics_table.py > docs/metrics.md
	cp crds/evalrun.dev_evalruns.yaml helm/evalrun/files/
	$(BIN)/python -m evalrun_monitoring helm/evalrun/files/dashboards
	$(BIN)/python scripts/chart_readme.py > helm/evalrun/README.md.new
	mv helm/evalrun/README.md.new helm/evalrun/README.md

clean: ## Remove the environment and the caches of the tools
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
