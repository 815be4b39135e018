# Everything is made in .venv and in a cache outside the checkout; nothing has to be prepared by hand.
# `make test` wants Go for the control plane of the tests, and root with iproute2 and iptables for the kernel; without
# them those tests are skipped, loudly.

PYTHON ?= python3
BIN = .venv/bin

export PYTHONDONTWRITEBYTECODE =
ifeq ($(HOME),)
unexport HOME
endif

.PHONY: test lint docs pictures control-plane packages dist bundle wheel krew fuzz fuzz-input demo bench bench-scale clean

test: .venv/dev packages $(if $(shell command -v go),control-plane)
	$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# docs/checks.md from the catalogue of checks and their cases, the tables of docs/output.md from docs/schemas,
# docs/commands.md and plugin.yaml from usage texts
docs: .venv/run
	$(BIN)/python -m docs.generate

# What the program shows on a terminal, as SVG and as flowcharts in docs/pictures, from runs on examples/shop
pictures: .venv/run
	$(BIN)/python -m docs.pictures

control-plane:
	$(PYTHON) tests/tools/build.py

packages:
	tests/tools/packages.sh

# What a release has of this machine (CONTRIBUTING.md). A bundle is the same to the byte for the same SOURCE_DATE_EPOCH
DIST ?= dist
dist: bundle wheel

bundle: .venv/dev
	$(BIN)/python -m release.bundle "$(DIST)"

wheel: .venv/dev
	$(BIN)/python -m build --outdir "$(DIST)"
	$(BIN)/twine check --strict "$(DIST)"/kubectl_fsm-*.whl "$(DIST)"/kubectl_fsm-*.tar.gz

# krew's manifest for the bundles in dist/, which will lie at URL: make krew URL=https://… HOMEPAGE=https://…
krew: .venv/run
	$(BIN)/python -m release.krew "$(DIST)" "$(URL)" "$(HOMEPAGE)"

# The simulator against the kernel, single connections and whole traces: make fuzz N=1000000 SEED=7
N ?= 200000
SEED ?= 2
fuzz: .venv/dev packages
	KUBECTL_FSM_CONNECTIONS=$(N) KUBECTL_FSM_SEED=$(SEED) $(BIN)/pytest tests/kernel/test_differential.py tests/kernel/test_differential_traces.py

# Whatever somebody may give the program: manifests, values, scripts, kubeconfigs, words. N examples in all, from SEED on
fuzz-input: N = 100000
fuzz-input: .venv/dev
	KUBECTL_FSM_EXAMPLES=$(N) KUBECTL_FSM_EXAMPLES_SEED=$(SEED) $(BIN)/pytest -n 2 tests/input

demo: .venv/run
	PATH="$(CURDIR)/$(BIN):$$PATH" examples/demo.sh

bench: .venv/dev control-plane
	$(BIN)/python -m bench.bench

bench-scale: .venv/dev control-plane
	$(BIN)/python -m bench.scale

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/run: pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/dev: .venv/run
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@
