# `make book` builds and opens nothing but says where the book is; `make test` is what CI runs. Both make .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One process a core with one thread each: most tests are too small to share their work between threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto
JB := $(BIN)/jupyter-book build . -W -n --keep-going -q

NB ?= quickstart
PROFILE ?= laptop
ARGS ?=

.PHONY: book test test-fast lint run html bench bench-metrics bench-directions bench-drawing clean help

book: $(READY)  ## execute what is missing or stale, and build the book
	$(BIN)/python -m disentlib chapters
	$(MAKE) html
	@echo "The book: _build/html/index.html  (open it in a browser, or: $(BIN)/python -m http.server -d _build/html)"

html: $(READY)  ## build the pages from the chapters as they are
	$(JB)

test: $(READY) lint  ## everything that CI runs
	$(PYTEST) --dist loadfile -m "not notebook and not book"
	$(BIN)/python -m disentlib chapters --check
	$(PYTEST) -m notebook
	$(BIN)/python -m disentlib publish quickstart reproduction errata status --profile smoke --if-missing
	$(MAKE) html
	BOOK_BUILT=1 $(BIN)/python -m pytest -q -m book

test-fast: $(READY)  ## unit and law tests alone
	$(PYTEST) --dist loadfile -m "not notebook and not book"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id notebooks/*.ipynb

run: $(READY)  ## one notebook: make run NB=beta_gvae PROFILE=laptop ARGS="-p seed 3"
	$(BIN)/python -m disentlib run $(NB) --profile $(PROFILE) $(ARGS)

bench: $(READY)  ## steps per second of the training loop against a plain one
	$(BIN)/python tests/bench_training.py

bench-metrics: $(READY)  ## seconds of each metric, and what faster trees cost DCI
	$(BIN)/python tests/bench_metrics.py

bench-directions: $(READY)  ## milliseconds of a Dis-GU step, beside a literal one
	$(BIN)/python tests/bench_directions.py

bench-drawing: $(READY)  ## pictures a second of each data set that is drawn by code
	$(BIN)/python tests/bench_drawing.py

clean:
	rm -rf _build runs/notebooks

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /: /'

# Without installing twice: the stamp is newer than what decides the environment.
$(READY): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -r requirements.txt
	@touch $(READY)
