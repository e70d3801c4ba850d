# `make extract`, `make demo` and `make test` do all the set-up on a fresh clone; later runs find it done and start at once.
PYTHON ?= python3
PHOTO ?= examples/cat.png
ORG ?= your-name

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

# Where the page is served, say PORT=8000; Gradio's own choice is the first free port from 7860.
PORT ?=

.PHONY: extract demo test robustness lint format bench publish-dry-run reproduce docs pictures

extract: $(READY)
	$(BIN)/motion-offsets extract $(PHOTO) -o out/
	@echo "Open sharp.png, video.mp4 and trajectories.png in out/$(basename $(notdir $(PHOTO)))/"

demo: $(READY)
	$(BIN)/motion-offsets demo $(if $(PORT),--port $(PORT))

# A process per core; `pytest tests/io` alone runs in one process.
test: $(READY)
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

# All the malformed inputs, of which the tests take a sample.
robustness: $(READY)
	$(BIN)/python -m pytest --all-malformed tests/robustness

# Every page and link is checked; a warning is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Every picture and the README's table, from the current weights and results; under two minutes on two cores.
pictures: $(READY)
	cd examples && ../$(BIN)/python pictures.py
	$(BIN)/python train/readme_table.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Best on an idle machine; training.py and scaling.py need arguments, see benchmarks/README.md.
BENCHMARKS := startup exposure motion_aware_conv pipeline optimize onnx_models data folder megapixels

bench: $(READY)
	for name in $(BENCHMARKS); do OMP_WAIT_POLICY=PASSIVE $(BIN)/python benchmarks/$$name.py || exit 1; done

publish-dry-run: $(READY)
	$(BIN)/motion-offsets publish --org $(ORG) --dry-run

# Table 2 of the paper scaled down, about an hour on two cores; DATA is a folder with bsds500/train and bsds500/val.
reproduce: $(READY)
	@test -d "$(DATA)/bsds500/train" || { echo "make reproduce DATA=FOLDER: the folder that holds bsds500/"; exit 2; }
	$(BIN)/python train/reproduce.py --images $(DATA)/bsds500/train --evaluation_images $(DATA)/bsds500/val \
		--label_maps $(DATA)/bsds500/segments/train --evaluation_label_maps $(DATA)/bsds500/segments/val \
		--tables $(or $(TABLES),trajectories) $(if $(LIMIT),--limit $(LIMIT))

# The stamp is written last, so a set-up that was interrupted is taken up again.
$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): once, and it takes a few minutes"
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[dev]'
	@touch $@
