# Everything a newcomer types. A virtual environment in .venv is the only thing ever installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.PHONY: demo test check lint serve bench clean

$(READY): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing Tollgate and its test tools into $(VENV) (once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(READY)

demo: $(READY)  ## the main job, live, on simulated providers; ARGS=--exit ends by itself
	@$(BIN)/tollgate demo $(ARGS)

test: $(READY) lint  ## every test
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: $(READY) lint  ## the fast core: under a minute
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

serve: $(READY)  ## the gateway on 127.0.0.1:8080, SQLite in ./data
	@$(BIN)/tollgate serve $(ARGS)

bench: $(READY)  ## the benchmark, as ratios to nginx where it is installed
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
