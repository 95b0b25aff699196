# make demo   a first answer: four schedulers on the built-in trace, in a fresh .venv
# make test   all checks, as CI runs them
# make cover  the lines and branches that tests run, which takes three times as long
# make docs   writes the tables and outputs in README.md and docs/ anew, and builds the site of them
# make dist   the wheel and the source archive, in dist/
# make bench  the speed figures of docs/performance.md
# make fuzz   half an hour (FUZZ_SECONDS) of fuzzing the readers of traces; what breaks one is left in out/
# make attack an hour (ATTACK_SECONDS, ATTACK_WORKERS) of damaged inputs, injections, kills, full disks, two at once
PYTHON ?= python3
FUZZ_SECONDS ?= 1800
ATTACK_SECONDS ?= 3600
ATTACK_WORKERS ?= 1
BIN = .venv/bin

.PHONY: demo test cover docs dist bench fuzz attack notebook clean

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

# pip installs flowsim itself anew each time (seconds), its dependencies only where one is missing.
.PHONY: install install-dev
install: .venv/bin/python
	$(BIN)/python -m pip install --quiet .
install-dev: .venv/bin/python
	$(BIN)/python -m pip install --quiet '.[dev]'

demo: install
	$(BIN)/flowsim compare example --rate-scale 5 --policy fcfs --policy chunked:2048 --policy chunked:8192 --policy flowprefill --out out/demo

test: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p flowsim
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n auto --dist worksteal

cover: install-dev
	$(BIN)/python -m pytest -n auto --dist worksteal --cov=flowsim --cov-report=term

docs: install
	$(BIN)/python -m pip install --quiet '.[docs]'
	$(BIN)/python -m docs.written
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --conf-dir docs . out/site
	@echo "The site begins at out/site/index.html"

dist: .venv/bin/python
	$(BIN)/python -m pip install --quiet build
	$(BIN)/python -m build --outdir dist

bench: install
	$(BIN)/python -m benchmarks

fuzz: install
	$(BIN)/python -m pip install --quiet '.[fuzz]'
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)

attack: install-dev
	$(BIN)/python -m tests.attack --seconds $(ATTACK_SECONDS) --workers $(ATTACK_WORKERS) --out docs/evidence/attack.json

notebook: install-dev
	$(BIN)/jupyter execute --inplace notebooks/*.ipynb

clean:
	rm -rf .venv build dist out *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
