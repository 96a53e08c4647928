# make demo   set up what is missing and run railwatch on the bundled sample tiles
# make test   set up what is missing and check everything: style, types, tests, the detector's thresholds
# make help   the other targets
#
# Needs Python 3.11 or newer, nothing else; everything goes into .venv, in the versions of requirements.lock.
# The set-up is done again only after pyproject.toml or that file has changed.
#
#   LOCK=                   the newest versions of everything instead
#   PYTHON=python3.13   a certain interpreter
#   PIP_ARGS=...        further options of pip, for example, for the much smaller CPU builds of PyTorch:
#                       make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   JOBS=4              parallel test processes (2 by default)
#   PYTEST_ARGS=...     what pytest runs and how

VENV ?= .venv
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11 python
PIP_ARGS ?=
JOBS ?= 2
LOCK ?= requirements.lock
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=

BIN := $(VENV)/bin
# Without compiling all of PyTorch beforehand: a third of the installation's time, for modules that are never imported.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile $(if $(LOCK),--constraint $(LOCK)) $(PIP_ARGS)

.PHONY: demo test lint types unit validate bench benchmark docs site lock wheel clean distclean help
.DEFAULT_GOAL := help

demo: $(VENV)/.installed
	@echo "==> railwatch demo"
	@$(BIN)/railwatch demo

# The types beside the tests: mypy works on one core.
test: lint
	@$(MAKE) --no-print-directory --jobs=2 types unit
	@$(MAKE) --no-print-directory validate
	@echo "==> everything passed"

lint: $(VENV)/.installed-dev
	@echo "==> style (ruff)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	@echo "==> types (mypy --strict)"
	@$(BIN)/mypy

unit: $(VENV)/.installed-dev
	@echo "==> tests (pytest)"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

validate: $(VENV)/.installed
	@echo "==> the detector on the sample tiles (railwatch validate)"
	@$(BIN)/railwatch validate

# Those that need nothing but the package; benchmarks/ablate.py wants training tiles.
bench: $(VENV)/.installed-dev
	@for benchmark in benchmarks/detect.py benchmarks/read_tiles.py; do \
		echo "==> $$benchmark"; $(BIN)/python "$$benchmark" || exit; \
	done

# Beside DeepForest and SAHI, each in an environment of its own (several gigabytes, the package registry only).
benchmark: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/peers/compare.py $(BENCHMARK_ARGS)

docs: $(VENV)/.installed
	@$(BIN)/python -m railwatch.config > docs/configuration.md
	@$(BIN)/python docs/_site/module_tables.py
	@$(BIN)/railwatch chart --aoi tumangang --seeds-only --date 2023-10-05 --out docs/images/tumangang.png

site: $(VENV)/.installed-dev
	@echo "==> the documentation site (mkdocs), with its notebook executed and its links checked"
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "open site/index.html"

# Keeps the versions that are in the file as far as they fit; LOCK_ARGS=--upgrade takes the newest.
lock: $(VENV)/.created
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@head -2 requirements.lock > .lock-head
	@sed -i.old '1,2d' requirements.lock && rm requirements.lock.old
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
		$(LOCK_ARGS) pyproject.toml --output-file requirements.lock; status=$$?; \
		cat .lock-head requirements.lock > .lock-new && mv .lock-new requirements.lock; rm .lock-head; exit $$status

wheel: $(VENV)/.installed-dev
	@echo "==> wheel"
	@$(BIN)/python -m build --wheel --no-isolation
	@ls -l dist/*.whl

clean:
	rm -rf build dist site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)

help:
	@echo "make demo      run railwatch on the bundled sample tiles"
	@echo "make test      style, types, tests and the detector's thresholds; also one by one:"
	@echo "               make lint, make types, make unit, make validate"
	@echo "make bench     the benchmarks of benchmarks/ (minutes)"
	@echo "make benchmark railwatch beside its peers; writes docs/benchmarks.md (an hour)"
	@echo "make docs      write the generated pages of docs/"
	@echo "make site      build the documentation site into site/"
	@echo "make lock      bring requirements.lock up to pyproject.toml"
	@echo "make wheel     build the wheel into dist/"
	@echo "make clean     remove what building and testing left; make distclean: the environment too"

# ---- set-up --------------------------------------------------------------------------------------
# The stamps are newer than pyproject.toml and the lock file when the environment has what it asks for.

$(VENV)/.installed: pyproject.toml $(LOCK) $(VENV)/.created
	@echo "==> installing railwatch and what it needs into $(VENV) (the first time takes some minutes)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(LOCK) $(VENV)/.created
	@echo "==> installing railwatch, what it needs and the test tools into $(VENV) (the first time takes some minutes)"
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.created:
	@too_old=; no_venv=; chosen=; \
	for candidate in $(PYTHON); do \
		"$$candidate" -c '' 2>/dev/null || continue; \
		if ! "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then too_old="$$too_old $$candidate"; continue; fi; \
		if ! "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then no_venv="$$no_venv $$candidate"; continue; fi; \
		chosen="$$candidate"; break; \
	done; \
	if [ -z "$$chosen" ]; then \
		if [ -n "$$no_venv" ]; then \
			echo "railwatch: error:$$no_venv can't make virtual environments; install the missing part (on Debian and Ubuntu: apt install python3-venv) and run make again." >&2; \
		elif [ -n "$$too_old" ]; then \
			echo "railwatch: error: Python 3.11 or newer is needed, but found only older ones ($${too_old# }); install one, or name it: make PYTHON=/path/to/python3" >&2; \
		else \
			echo "railwatch: error: no Python found; install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3" >&2; \
		fi; \
		exit 1; \
	fi; \
	echo "==> making the virtual environment $(VENV) with $$chosen ($$("$$chosen" --version))"; \
	"$$chosen" -m venv --clear $(VENV) && touch $@
