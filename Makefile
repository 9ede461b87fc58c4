# make demo: environment, install, quickstart.   make test: everything CI checks.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# Exports for every command: no hub look-ups, one place for pip's constraints.
export HF_HUB_OFFLINE ?= 1
export PIP_CONSTRAINT = $(CURDIR)/constraints.txt

.PHONY: demo test lint types contracts unit slow quickstart notebooks mutants kill kills fuzz ray emulate referee peers clean

demo: $(VENV)/.demo
	$(BIN)/elsa-sim run scenarios/quickstart.yaml

test: lint types contracts unit quickstart notebooks

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --ignore tests/emulation --ignore tests/cluster  # what a file plays once, one process plays
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/cluster  # a cluster needs both cores
	$(BIN)/pytest tests/emulation  # measures time: nothing beside it

# Studies that are too long for every change (docs/testing.md).
slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow --ignore tests/cluster

quickstart: $(VENV)/.dev
	$(BIN)/elsa-sim run scenarios/quickstart.yaml --out $(VENV)/quickstart --force
	$(BIN)/python tests/check_quickstart.py $(VENV)/quickstart

notebooks: $(VENV)/.dev
	$(BIN)/python notebooks/execute.py

# The share of mutants that the tests of a room kill (docs/testing.md): make mutants ROOM="network world" SAMPLE=100
ROOM   ?= learning/execution
SAMPLE ?= 100
mutants: $(VENV)/.dev
	$(BIN)/pip install -qq --editable '.[mutants]'
	nice $(BIN)/python benchmarks/mutants.py $(ROOM) --sample $(SAMPLE)

# Runs and studies killed at random moments, and disks that are too small (docs/testing.md); goes on where it was stopped.
KILLS ?= 200
DISKS ?= 50
kills: $(VENV)/.dev
	OMP_NUM_THREADS=1 nice $(BIN)/python benchmarks/kills.py --kills $(KILLS) --disks $(DISKS)

# Runs killed at random moments, resumed, and compared with the run that was not (docs/testing.md); goes on where it was stopped.
KILL ?= --kills 50
kill: $(VENV)/.dev
	OMP_NUM_THREADS=1 nice $(BIN)/python benchmarks/kill_resume.py $(KILL)

# Real kernel TCP over links with delay, beside what is predicted (docs/testing.md); needs root; goes on where it was stopped.
EMULATE ?= --out runs/emulation
emulate: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/emulation/emulate.py $(EMULATE)

# Runs and studies on a Ray cluster of two nodes, which are killed (docs/testing.md); minutes.
ray: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/cluster -m "slow or not slow"

# Drawn inputs of every kind through the command line (docs/testing.md): make fuzz COUNT=10000 SEED=1
COUNT  ?= 1000
SEED   ?= 0
fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 nice $(BIN)/python benchmarks/fuzz.py --count $(COUNT) --seed $(SEED)

# Small cases in ns-3, and in SimGrid where an interpreter has it (docs/testing.md): make referee SIMGRID=/usr/bin/python3
REFEREE ?= .venv-referee
SIMGRID ?= $(REFEREE)/bin/python
referee: $(VENV)/.dev $(REFEREE)/.ready
	nice $(BIN)/python benchmarks/referee.py --ns3 $(REFEREE)/bin/python --simgrid $(SIMGRID)

$(REFEREE)/.ready:
	$(PYTHON) -m venv $(REFEREE)
	$(REFEREE)/bin/pip install -qq ns3
	touch $@

# An environment for each of the simulators that `python benchmarks/training.py --peers` runs: their pins contradict one another.
# Of this program's versions only those that compute are kept. One that cannot be installed is a row with its error.
PEERS    ?= pfl flower appfl flgo
PEERS_AT ?= .venv-peers
COMPUTE  = torch|transformers|peft|tokenizers|safetensors|numpy|scipy|scikit-learn|pandas|pyarrow
peers:
	-$(MAKE) --keep-going $(PEERS:%=$(PEERS_AT)/%/.ready)

$(PEERS_AT)/%/.ready: benchmarks/peers/%.txt constraints.txt
	$(PYTHON) -m venv $(PEERS_AT)/$*
	grep -E '^($(COMPUTE))==' constraints.txt > $(PEERS_AT)/$*/constraints.txt
	PIP_CONSTRAINT=$(abspath $(PEERS_AT))/$*/constraints.txt $(PEERS_AT)/$*/bin/pip install -qq --editable '.[pretrained]' -r $<
	test ! -e $(<:.txt=.alone.txt) || $(PEERS_AT)/$*/bin/pip install -qq --no-deps -r $(<:.txt=.alone.txt)
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "elsa-sim needs Python >= 3.11; call make with PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -qq --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -qq --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(REFEREE) $(PEERS_AT) .mutants .fuzz runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
