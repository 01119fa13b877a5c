# A real Kubernetes on this machine, for tests and to play with. Included by the Makefile.

NODES ?= 3
.PHONY: cluster cluster-down cluster-tools

cluster-tools:
	@[[ $$EUID -ne 0 ]] || ! grep -qs '^ID=debian' /etc/os-release || tests/cluster/install.sh

cluster: install cluster-tools ## Start a Kubernetes of three nodes to play with; says how to reach it
	PYTHONPATH=tests $(BIN)/python -m cluster up --nodes $(NODES)

cluster-down: ## Take it away again
	PYTHONPATH=tests $(BIN)/python -m cluster down
