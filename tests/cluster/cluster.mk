# A real Kubernetes on this machine, for tests and for experiments. Included by the Makefile.

NODES ?= 3
.PHONY: cluster cluster-env cluster-down cluster-programs cluster-tools

# Programs of the cluster, built once into the cache. Without Go, tests that need them are skipped; in CI they fail.
cluster-programs: install
	@PYTHONPATH=tests $(BIN)/python -m cluster build || [[ -z "$${CI:-}" ]]

cluster-tools: cluster-programs
	@[[ $$EUID -ne 0 ]] || ! grep -qs '^ID=debian' /etc/os-release || tests/cluster/install.sh

cluster: cluster-tools ## Start a Kubernetes of three nodes for experiments, with the images and an S3 that holds a small model
	$(BIN)/python scripts/small_model.py --output $(MODEL)
	images=$$(scripts/images.sh | sed -E 's/^.* /--image /' | tr '\n' ' '); \
	PYTHONPATH=tests $(BIN)/python -m cluster up --nodes $(NODES) $$images --store $(MODEL)

cluster-env: ## Print the shell settings for that cluster's kubectl and helm: eval "$$(make -s cluster-env)"
	@PYTHONPATH=tests $(BIN)/python -m cluster env

cluster-down: ## Remove that cluster
	PYTHONPATH=tests $(BIN)/python -m cluster down
