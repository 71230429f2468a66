# make demo: the whole path on a small set, with pictures, in demo/report.html (IMAGES=folder adds your micrographs)
# make test: every CPU test        make bench: the benchmarks, as a table and as JSON
# Python 3.11 is what bpy 4.5 needs; without Blender any Python from 3.11 on will do: make PYTHON=python3.12 …

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed-$(shell cksum pyproject.toml | cut -d' ' -f1)

export OMP_NUM_THREADS ?= 2
export IMAGES

.PHONY: install demo test bench lint clean

install: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/python -m train.demo out=demo "images=$$IMAGES"

test: $(READY) lint
	$(BIN)/python -m pytest tests

bench: $(READY)
	$(BIN)/python benchmarks/run.py

lint: $(READY)
	$(BIN)/ruff check .

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache
