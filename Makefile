# On a fresh machine: `make demo` and `make test` do all the set-up there is.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)/python
OUT ?= demo

# Property tests with many more examples, from a fixed seed, for at most FUZZ_SECONDS a file.
FUZZ_EXAMPLES ?= 400
FUZZ_SECONDS ?= 600
FUZZ_FILES = $(shell grep -rlE '^from hypothesis' tests --include='test_*.py')

# The networks of the detector mediapipe, which its tests on real pictures read. Where they cannot be had, these are skipped.
POSE_MODELS = $(VENV)/magicdance_pose
POSE_WHEEL = mediapipe==0.10.21 --no-deps --only-binary=:all: --python-version 3.11 --platform manylinux_2_28_x86_64

.PHONY: audit demo fuzz test lint locales clean

demo: $(VENV)/.ready
	$(RUN) -m magicdance_core demo --out $(OUT)

# A file a process, a thread a process: tiny networks only lose by more. What is compiled is compiled in the test's process,
# and without the seconds that finding the CPU's vector instructions takes.
test: export OMP_NUM_THREADS = 1
test: export TORCHINDUCTOR_COMPILE_THREADS = 1
test: export TORCHINDUCTOR_VEC_ISA_OK = 0
test: $(VENV)/.ready
	$(RUN) -m pytest tests -n auto --dist loadfile

lint: $(VENV)/.ready
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	mkdir -p .mypy_cache && ln -sfn .. .mypy_cache/pack
	$(RUN) -m mypy

fuzz: $(VENV)/.ready
	for file in $(FUZZ_FILES); do \
	    FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) timeout $(FUZZ_SECONDS) $(RUN) -m pytest -q --hypothesis-seed=0 $$file \
	        || [ $$? -eq 124 ] || exit 1; \
	done

audit: $(VENV)/.ready
	$(RUN) -m pip install --quiet --disable-pip-version-check pip-audit
	$(RUN) -m pip_audit --requirement requirements.txt

locales: $(VENV)/.ready
	$(RUN) locales/make.py

$(VENV)/.ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(RUN) -m pip download --quiet --disable-pip-version-check --timeout 20 --retries 1 $(POSE_WHEEL) -d $(POSE_MODELS) \
	    || echo "MediaPipe's wheel could not be fetched: tests of the detector mediapipe on real pictures are skipped."
	touch $@

clean:
	rm -rf $(VENV) $(OUT)
