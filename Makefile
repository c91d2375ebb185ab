# Every target sets up .venv first; nothing is installed elsewhere.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two processes, because most tests wait for brokers and services.
JOBS ?= 2
# Each process gets half of the files, so that a file's servers start once; the first to finish helps the other.
DEAL := worksteal

.PHONY: help demo test check lint docs bench bench-throughput bench-scale bench-detection chaos fuzz soak mutants clean
.DEFAULT_GOAL := help

help:
	@echo "make demo              run the whole service on an embedded broker, with three injected changes that it finds"
	@echo "make test              run all tests (they start a real Kafka where Java and Maven are present)"
	@echo "make check             lint, types and the everyday tests"
	@echo "make docs              build the documentation into build/site"
	@echo "make bench             the next two benchmarks, on a real broker"
	@echo "make bench-throughput  throughput beside hand-written consumers"
	@echo "make bench-scale       cost of more workers, features and models; delay, memory, restore"
	@echo "make bench-detection   false alarms, delays and cost, beside other libraries"
	@echo "make chaos             kill, freeze and restart workers and a real broker, then recount every published number"
	@echo "make fuzz              a million broken inputs, half of them chosen by the code they reach"
	@echo "make mutants           plant bugs in a copy of the tree, one at a time, and name the test that catches each"
	@echo "make soak              half an hour of steady load with changing models; memory, threads, files, log"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "driftline needs Python 3.11 or newer; try make PYTHON=python3.12")'
	@echo "setting up $(VENV) with $$($(PYTHON) --version); this takes about a minute ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/driftline demo

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(JOBS) --dist $(DEAL)

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

check: lint
	@$(BIN)/python -m pytest -n $(JOBS) --dist $(DEAL) -m 'not slow and not kafka'

docs: $(STAMP)
	@$(BIN)/python -m tests.docs.pages
	@$(BIN)/python -m mkdocs build --strict --quiet
	@echo "build/site/index.html"

bench: bench-throughput bench-scale

bench-throughput: $(STAMP)
	@$(BIN)/python -m benchmarks.throughput $(ARGS)

bench-scale: $(STAMP)
	@$(BIN)/python -m benchmarks.scale $(ARGS)

bench-detection: $(STAMP)
	@$(BIN)/python -m benchmarks.detection $(ARGS)

chaos: $(STAMP)
	@$(BIN)/python -m tests.chaos $(ARGS)

fuzz: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]' \
	  || echo "atheris does not install here: no inputs are chosen by coverage"
	@$(BIN)/python -m tests.fuzz $(ARGS)

soak: $(STAMP)
	@$(BIN)/python -m tests.soak $(ARGS)

mutants: $(STAMP)
	@$(BIN)/python -m tests.mutants $(ARGS)

clean:
	rm -rf $(VENV) .venv-peers .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
