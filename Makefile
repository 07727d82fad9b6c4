# The whole set-up of a fresh machine is in here: `make demo` and `make test` need nothing but Python 3.11 to 3.13.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
DEMO ?= .demo

# A folder of wheels that the environment names (UV_FIND_LINKS or PIP_FIND_LINKS) supplies torch; without one uv picks
# the build for this machine, so that a laptop without a GPU does not download CUDA.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
TORCH := $(if $(strip $(UV_FIND_LINKS)),,--torch-backend=auto)
INSTALL = $(UV) pip install --quiet --python $(BIN)/python --constraint constraints.txt $(TORCH)

export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: help setup setup-demo demo test check e2e e2e-slow bench format traces constraints screenshots clean

help:  ## This list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(UV):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.demo-done: $(UV) pyproject.toml constraints.txt
	$(INSTALL) --editable '.[local,demo]'
	@touch $@

$(VENV)/.all-done: $(UV) pyproject.toml constraints.txt
	$(INSTALL) --editable '.[local,sky,demo,dev]'
	@touch $@ $(VENV)/.demo-done

setup: $(VENV)/.all-done  ## Everything: training, SkyPilot, tests
setup-demo: $(VENV)/.demo-done  ## What the demo needs: no SkyPilot

demo: setup-demo  ## Plan, train MiniLM on BBC News on this machine, print and write the report
	@mkdir -p $(DEMO)
	$(BIN)/tunefare init --example bbc-news --force $(DEMO)/tunefare.yaml
	TUNEFARE_HOME=$(abspath $(DEMO))/home $(BIN)/tunefare plan $(DEMO)/tunefare.yaml --top 8
	TUNEFARE_HOME=$(abspath $(DEMO))/home $(BIN)/tunefare run $(DEMO)/tunefare.yaml --on local --yes --max-usd 1 \
	  --html $(DEMO)/report.html

check: setup  ## Formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup  ## Unit, property, golden and contract tests
	@# One worker more than two cores: many tests wait for processes.
	$(BIN)/pytest -m 'not e2e' -n 3 --dist loadfile

e2e: setup  ## Real engines: this machine, and SkyPilot on a real Slurm and an emulated AWS (needs Debian and root)
	@# The labs wait most of the time: each runs beside the rest, and is printed after it. The longest test comes first.
	@$(BIN)/pytest -m 'e2e and slurm and not slow' > $(VENV)/e2e-slurm.log 2>&1 & slurm=$$!; \
	  $(BIN)/pytest -m 'e2e and aws and not slow' > $(VENV)/e2e-aws.log 2>&1 & aws=$$!; status=0; \
	  $(BIN)/pytest tests/e2e/test_demo.py tests -m 'e2e and not slurm and not aws and not slow' \
	    -n 3 --dist loadfile --no-loadscope-reorder || status=$$?; \
	  wait $$slurm || status=$$?; wait $$aws || status=$$?; \
	  cat $(VENV)/e2e-slurm.log $(VENV)/e2e-aws.log; exit $$status

e2e-slow: setup  ## The rest on real engines: every bad end on Slurm and an emulated AWS; an hour (Debian, root)
	$(BIN)/pytest -m 'e2e and slow'

faults: setup  ## Disturb 80 real runs at random moments; writes the table of docs/reliability.md (an hour; or ENGINE=slurm|aws COUNT=8)
	$(BIN)/python -m tests.faults --engine $(or $(ENGINE),local) --count $(or $(COUNT),80) --seed $(or $(SEED),1) --jobs $(or $(JOBS),2)

bench: setup  ## Programs that measure; each prints a table
	@for program in tests/bench/bench_*.py; do echo "== $$program"; $(BIN)/python $$program; done

format: setup  ## Write the formatting
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screenshots: setup  ## Pictures of README and docs, from a real plan and a real run
	$(BIN)/python docs/make_screenshots.py

traces: setup  ## Trace the models of the table anew, where something changed; hours on one core
	$(BIN)/python -m tests.bench.make_traces

constraints: $(UV)  ## Resolve the exact versions anew
	$(UV) pip compile pyproject.toml --all-extras --python-version 3.11 --no-annotate --no-header --quiet --upgrade \
	  $(TORCH) | grep -v '^--' | sed -E 's/^(torch==[0-9.]+).*/\1/' > constraints.new
	echo "uv==$$($(UV) --version | cut -d' ' -f2)" >> constraints.new
	LC_ALL=C sort -o constraints.txt constraints.new
	rm constraints.new

clean:  ## Remove the environment and the demo
	rm -rf $(VENV) $(DEMO)
