# Two commands do all set-up on a machine with Python 3.11 and make: `make repro` and `make test`.
# Every target that needs the environment makes it first, from requirements.lock.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup repro test coverage check ui serve verify bench docs deps plots demo-data lock clean

PYTHON ?= python3
PORT ?= 5000
# Whole files to each worker, those with slow tests first: see tests/conftest.py.
IN_PARALLEL := -q -n logical --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
UV := $(or $(shell command -v uv),.uv/bin/uv)
# The tests make environments with uv: it may be the one that came with `make setup`.
RUN := PATH="$(CURDIR)/$(BIN):$(CURDIR)/.uv/bin:$$PATH"

# Every stage is a process: without compiled modules each of them would compile its imports again.
unexport PYTHONDONTWRITEBYTECODE

# MLflow's client, its UI and its model server read different variables: set all of them, in one place.
export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlruns/mlflow.db
export MLFLOW_BACKEND_STORE_URI ?= $(MLFLOW_TRACKING_URI)
export MLFLOW_REGISTRY_URI ?= $(MLFLOW_TRACKING_URI)
export MLFLOW_DEFAULT_ARTIFACT_ROOT ?= $(CURDIR)/mlruns/artifacts
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false
export MLFLOW_DISABLE_TELEMETRY ?= true
export TOKENIZERS_PARALLELISM ?= false

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(BIN)/.synced ## make .venv from requirements.lock (the other targets do it by themselves)

# Into a folder of its own: works also where Python belongs to the operating system.
.uv/bin/uv:
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv

$(BIN)/.synced: requirements.lock pyproject.toml $(if $(filter .uv/bin/uv,$(UV)),$(UV))
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock
	@$(UV) pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

repro: setup ## run the pipeline (demo corpus unless you changed params.yaml) and show the result
	@if grep -q 'remote: demo' data.dvc; then $(RUN) dvc pull --quiet data.dvc; fi
	@if [ -d build/champion ]; then $(RUN) postbias sync; fi  # infer needs it also where it was pulled
	@$(RUN) dvc repro
	@$(RUN) postbias sync
	@$(RUN) postbias results
	@echo "Report: $(CURDIR)/build/report.html"

test: setup ## everything that CI runs: checks, then all tests
	@$(MAKE) --no-print-directory check
	@$(RUN) python -m pytest $(IN_PARALLEL)

coverage: setup ## all tests, and how much of the code they ran
	@$(RUN) python -m pytest $(IN_PARALLEL) --cov --cov-report=term:skip-covered

check: setup ## lint, types, layers, docstrings, generated docs
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) pydoclint --quiet src stages
	@$(RUN) python docs/generate.py --check

ui: setup ## MLflow UI on this repository's runs (PORT=5000)
	@$(RUN) postbias sync
	@$(RUN) mlflow ui --host 127.0.0.1 --port $(PORT) --workers 1

serve: setup ## serve the champion over HTTP (PORT=5000)
	@$(RUN) postbias sync --need-champion
	@$(RUN) mlflow models serve -m models:/postbias@champion --env-manager local \
	  --host 127.0.0.1 --port $(PORT) --workers 1

verify: setup ## run the pipeline twice in a fresh clone and compare every output
	@$(RUN) postbias verify

bench: setup ## speed, memory and size of scoring: one table, and reports/bench.json
	@$(RUN) python benchmarks/run.py

plots: setup ## DVC's plots as one page without network
	@$(RUN) python docs/plots.py

docs: setup ## write docs/params.md and docs/cli.md again, build the site into build/site
	@$(RUN) python docs/generate.py
	@$(RUN) mkdocs build --quiet --strict

deps: setup ## bring the code deps of dvc.yaml up to date with the imports
	@$(RUN) python tests/import_closure.py

demo-data: setup ## make the demo corpus again (maintainers: then `dvc add data && dvc push -r demo`)
	@$(RUN) python -m postbias.demo data

lock: ## pin all packages again
	@$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	  --all-extras --python-version 3.11 --upgrade pyproject.toml --output-file requirements.lock

clean: ## remove what the pipeline made (data/, store/ and mlruns/ stay)
	@rm -rf build reports/curves reports/plots reports/train dvc_plots
