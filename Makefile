# batchbrew: `make study` runs the main job, `make test` the tests; both set everything up first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= studies/quick_start
PYTEST ?= -q -n 2
CASES  ?= 12000

.DEFAULT_GOAL := help
.PHONY: help setup study test test-mpi fuzz lint type format netdefs build bench report clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: constraints.txt pyproject.toml setup.py $(wildcard solver/kernels/*.c solver/kernels/*.h solver/kernels/*.pyx)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/setup.sh
	@touch $@

setup: $(VENV)/.ready ## make .venv: pinned packages, MPI from wheels, compiled kernels

study: setup ## run the quick-start study on generated data and write its report (OUT=folder)
	@$(BIN)/batchbrew study run netdefs/studies/quick_start.yaml --out $(OUT)

report: setup ## write the report of a study again (OUT=folder)
	@$(BIN)/batchbrew report $(OUT)

test: setup ## run all tests, with type check and lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest $(PYTEST)

test-mpi: setup ## run only the tests that start MPI ranks
	@$(BIN)/pytest $(PYTEST) -m mpi

fuzz: setup ## feed spoilt files to everything that reads files (CASES=number)
	@$(BIN)/python tests/fuzz/fuzz_campaign.py --cases $(CASES)

lint: setup ## check style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: setup ## check types
	@$(BIN)/mypy

format: setup ## format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

netdefs: setup ## write the nets of netdefs/ that tools/netdefs.py makes
	@$(BIN)/python tools/netdefs.py

bench: setup ## measure training throughput, against PyTorch where it is installed (BENCH="--quick --python PATH")
	@$(BIN)/python benchmarks/bench.py $(BENCH)

build: setup ## make wheel and sdist in dist/
	@$(BIN)/python -m build

clean: ## remove everything that was made
	rm -rf $(VENV) build dist *.egg-info src/*.egg-info solver/kernels/*.so solver/kernels/_compiled.c
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
