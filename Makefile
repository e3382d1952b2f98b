# `make demo` and `make test` set up all they need; see CONTRIBUTING.md for the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo-output

.PHONY: demo test check bench bench-search bench-techniques clean

$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/dev: $(VENV)/core
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev,hf,denoise,postgresql,sherpa,openvino,ncnn,agent,http,lhotse,ray,metrics,mlflow,wandb,otel,serve,beam]"
	$(BIN)/search backends install litert mnn executorch
	$(BIN)/python tests/support/chromium.py
	touch $@

# A search on the embedded corpus, its front as table and plot, one student exported and used.
demo: $(VENV)/core
	$(BIN)/search --home $(DEMO)/home launch --space quickstart.yaml
	$(BIN)/search --home $(DEMO)/home front quickstart --plot $(DEMO)/front.png
	$(BIN)/search --home $(DEMO)/home front quickstart --plot $(DEMO)/front.html > $(DEMO)/front.txt
	$(BIN)/search --home $(DEMO)/home export --study quickstart --ship --overwrite $(DEMO)/student.zip
	@echo "the front: $(DEMO)/front.html and $(DEMO)/front.png; a student: $(DEMO)/student.zip"
	@echo "to look at it, listen and export: $(BIN)/search --home $(DEMO)/home dashboard"

test: $(VENV)/dev
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy spaces storage workers search dashboard
	$(BIN)/lint-imports

# Figures beside a baseline, printed; minutes to an hour. One of them: make bench ONLY=help
bench: $(VENV)/dev
	$(BIN)/python -m pytest tests/benchmarks $(if $(ONLY),-k $(ONLY)) -s -p no:xdist -o "norecursedirs=.*" -o timeout=0

# What a search finds for its compute: strategies on recorded tables, 20 seeds (N_SEEDS=4: a look)
bench-search: $(VENV)/dev
	$(BIN)/python -m pytest tests/benchmarks/test_search.py -s -p no:xdist -o "norecursedirs=.*" -o timeout=0

# Each technique on and off, into BENCHMARKS.md; an hour or two, goes on where it was cut off
bench-techniques: $(VENV)/dev
	$(BIN)/python -m pytest tests/benchmarks/test_techniques.py -s -p no:xdist -o "norecursedirs=.*" -o timeout=0

clean:
	rm -rf $(DEMO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
