# `make help` lists the targets. Everything installs into .venv in this folder; nothing else is touched.

PYTHON ?= python3
BIN := .venv/bin
URL ?=
ARGS ?=

.DEFAULT_GOAL := help

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PORT, ENGRAM_HOME, ENGRAM_MODEL and all other ENGRAM_* settings can be given: make run PORT=9000"

.PHONY: setup
setup:  ## Install everything into .venv (run by the other targets; at once when nothing changed)
	@$(PYTHON) scripts/setup.py

.PHONY: run
run: setup  ## Start the whole product: vLLM, server, worker. Ctrl-C stops it
	@$(BIN)/engram up

.PHONY: demo
demo: setup  ## Tell three facts, watch them be learned, roll back, promote. URL=... uses a running Engram
	@$(BIN)/engram demo $(if $(URL),--url $(URL))

.PHONY: eval
eval: setup  ## Measure Engram: make eval ARGS="told-once"
	@$(BIN)/engram eval $(ARGS)

.PHONY: bench
bench: setup  ## Measure speed: ratios with their spread. ARGS="--json FILE" writes them, "--only NAME" picks one
	@$(BIN)/engram bench $(ARGS)

.PHONY: test
test: setup  ## Run every test, with real PostgreSQL, Redis and vLLM. ARGS="-k name" picks some
	@$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: setup  ## Format check, ruff, mypy --strict, import-linter, then every test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(ARGS)

.PHONY: format
format: setup  ## Format the code and fix what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: clean
clean:  ## Remove .venv and caches. State in ENGRAM_HOME stays
	rm -rf .venv .venv-setup.* .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
