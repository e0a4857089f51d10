# The targets a user and a developer need; `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/stanet
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install data train test test-beam test-demo lint format benchmark results tensorboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## make the virtual environment and install kfsl into it

$(INSTALLED): setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "kfsl needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) -V). Try make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $@

data: $(INSTALLED) ## build the embedded dataset
	$(BIN)/python -m data_pipelines.prepare --dataset=glyphs

train: data ## train STANet on the embedded dataset, calibrate, export and evaluate it (about 14 minutes)
	$(BIN)/python -m kfsl.train --gin_file=gin/stanet.gin --run_dir=$(RUN)
	$(BIN)/python -m kfsl.evaluate --run_dir=$(RUN) --calibrate
	$(BIN)/python -m kfsl.export --run_dir=$(RUN)
	$(BIN)/python -m kfsl.evaluate --run_dir=$(RUN)
	@echo "The run lies in $(RUN), the SavedModel in $(RUN)/saved_model."

test: $(INSTALLED) ## run the whole suite; set KFSL_DATA_DIR to test on real data too
	$(BIN)/python -m pytest --numprocesses=2 --dist=worksteal

test-beam: ## test preparing on Apache Beam, in an environment of its own
	$(PYTHON) -m venv $(VENV)-beam
	$(VENV)-beam/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,beam]'
	$(VENV)-beam/bin/python -m pytest tests/data_pipelines/test_beam.py

test-demo: ## test the page in the browser, in an environment of its own; needs chromium and chromium-driver (apt)
	@command -v chromedriver > /dev/null || { echo "make test-demo needs a browser: apt-get install chromium chromium-driver"; exit 2; }
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,demo]' selenium
	$(VENV)-demo/bin/python -m pytest tests/demo

lint: $(INSTALLED) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(INSTALLED) ## time the input pipeline and training steps
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/meta_step.py

results: $(INSTALLED) ## write RESULTS.md from the evidence in results/
	$(BIN)/python -m kfsl.results

tensorboard: $(INSTALLED) ## show all runs at http://localhost:6006
	$(BIN)/tensorboard --logdir=runs

clean: ## delete the virtual environment and caches; runs stay
	rm -rf $(VENV) $(VENV)-beam $(VENV)-demo build dist *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
