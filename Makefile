# Needs python3 (≥ 3.10) and make; everything else is installed into .venv by uv, which is itself a Python package.
PYTHON ?= python3
UV := .uv/bin/uv
RUN := .venv/bin

.PHONY: install demo test fuzz coverage check audit docs dist
install: .venv/installed

$(UV):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "gaussiancross needs Python 3.10 or newer; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

.venv/installed: pyproject.toml $(UV)
	$(UV) sync --all-extras --python $(PYTHON)
	# Compiles the modules that every start needs, also where writing bytecode is switched off: seconds off each start.
	PYTHONDONTWRITEBYTECODE= $(RUN)/python -W ignore -c 'import gaussiancross.app.commands.view, \
	    gaussiancross.app.inspector.inspector, nerfstudio.scripts.train, nerfstudio.scripts.eval'
	touch $@

# Pre-train on the built-in rooms and watch it in the browser, on whatever this machine has.
demo: install
	$(RUN)/ns-train gaussiancross-tiny

test: install
	$(RUN)/pytest

# 100,000 damaged files for all readers; `make test` tries 2,500.
fuzz: install
	$(RUN)/pytest tests/fuzz --fuzz-files 100000

# Lines of core that the suite runs: without numba's kernels, which cannot be traced, and with them.
coverage: install
	mkdir -p build
	$(RUN)/coverage run -m pytest
	$(RUN)/coverage report --sort miss --fail-under 90
	@echo "with numba's kernels: $$($(RUN)/coverage report --format total --rcfile /dev/null \
	    --data-file build/coverage --precision 1) %"

check: install
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/pyright

# Known weaknesses of the packages in uv.lock, as the database of osv.dev lists them; needs a network.
audit: install
	mkdir -p build
	$(UV) export --frozen --quiet --all-extras --no-dev --no-emit-project --output-file build/audit.txt
	@if $(RUN)/python -c 'import socket; socket.create_connection(("api.osv.dev", 443), 5)' 2>/dev/null; \
	then $(UV) tool run pip-audit --vulnerability-service osv --disable-pip --requirement build/audit.txt; \
	else echo "audit: skipped, because api.osv.dev cannot be reached from here"; fi

# The guide, into docs/_build/html; a broken reference or a badly formatted docstring fails.
docs: install
	$(UV) sync --all-extras --group docs --python $(PYTHON)
	$(RUN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# Wheel and source archive, into dist/, and the CycloneDX list of the packages that a release is installed with.
dist: install
	rm -rf dist build
	$(RUN)/python -m build
	$(RUN)/twine check --strict dist/*
	$(UV) export --frozen --quiet --all-extras --no-dev --preview-features sbom-export --format cyclonedx1.5 \
	    --output-file dist/gaussiancross.cdx.json
