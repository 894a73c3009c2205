# On a fresh machine: `make demo` and `make test` do all the set-up there is.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)/python
OUT ?= demo

.PHONY: demo test lint locales clean

demo: $(VENV)/.ready
	$(RUN) -m magicdance_core demo --out $(OUT)

test: $(VENV)/.ready
	$(RUN) -m pytest tests

lint: $(VENV)/.ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	mkdir -p .mypy_cache && ln -sfn .. .mypy_cache/pack
	$(RUN) -m mypy

locales: $(VENV)/.ready
	$(RUN) locales/make.py

$(VENV)/.ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
