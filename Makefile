# `make chat` and `make test` each set up what they need, also on a fresh clone.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: chat test check setup clean

chat: $(STAMP)          ## start the local platform and the web app
	@exec $(VENV)/bin/python -m chat_app

test: $(STAMP) check    ## style, types, and every test, the slow and the browser ones included
	@$(VENV)/bin/python -m tests.browser
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

setup: $(STAMP)

# torch first and pinned: an open range may bring gigabytes of CUDA
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): two to five minutes the first time …"
	@$(VENV)/bin/python -m pip install --quiet "torch==2.13.0"
	@$(VENV)/bin/python -m pip install --quiet -e ".[local,dev]"
	@touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
