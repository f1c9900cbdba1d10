# `make repro` runs the line, `make test` the tests; both set up what they need first.
SHELL := /bin/bash
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export GX_ANALYTICS_ENABLED := false
unexport PYTHONDONTWRITEBYTECODE  # images with Python set it, and each process would compile all its code anew

STAMP := .venv/.installed
HOST ?= 127.0.0.1
PORT ?= 5000

.PHONY: help setup repro compare test smoke team-test lint format ui bench upper-bound torture fuzz fresh lock docs audit

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(STAMP)  ## create .venv and install the locked versions

$(STAMP): requirements.lock requirements.in pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh

repro: $(STAMP)  ## run the line: slides to segmented slides (dvc repro)
	@python scripts/mend_dvc.py
	@python scripts/whole_line.py

compare: $(STAMP)  ## table of experiments: the parameters that differ, and test figures (dvc exp show, less)
	@dvc exp show --no-pager --only-changed --keep '(miou|iou\.|classifier_mean_ap)' --drop '[^:]*/'

test: $(STAMP)  ## run the tests, in parallel, and say how much of the code they touch
	@OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadgroup -p tests.touched

SMOKE := tests/test_architecture.py tests/test_vocabulary.py tests/test_yaml_places.py tests/pipeline/test_stage_code.py \
	tests/models/test_resnet38.py tests/models/test_attention.py tests/models/test_losses.py tests/datasets tests/cam \
	tests/inference tests/evaluation tests/engine/test_training.py::test_it_learns tests/patches/test_cutting.py \
	tests/slides/test_reader.py tests/slides/test_tissue.py tests/wsi/test_engine.py tests/wsi/test_segment.py

smoke: $(STAMP)  ## run the tests of the method, with one small training, while you work on the code
	@OMP_NUM_THREADS=1 python -m pytest -q -n 2 --dist loadgroup $(SMOKE)

team-test: $(STAMP)  ## two users, an MLflow server on PostgreSQL and S3, SSH, all on loopback (needs postgresql, openssh-server)
	@OMP_NUM_THREADS=1 python -m pytest -m team tests/team

lint: $(STAMP)  ## ruff check and format check, types; the committed params.yaml and gates.yaml are a profile
	@ruff check . && ruff format --check . && ty check && python scripts/committed_profile.py

format: $(STAMP)  ## let ruff mend what it can
	@ruff check --fix . && ruff format .

ui: $(STAMP)  ## MLflow UI on loopback: http://127.0.0.1:5000
	@mlflow ui --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --host $(HOST) --port $(PORT)

bench: $(STAMP)  ## run the benchmarks in their quick form, one after another; FULL=1: the sizes that targets are meant for
	@OMP_NUM_THREADS=1 GOMP_SPINCOUNT=1000 python -m benchmarks $(if $(FULL),--full)

upper-bound: $(STAMP)  ## train the same segmenter on true masks, for comparison
	@python -m pipelines.upper_bound

FAULTS := tests/engine/test_checkpoints.py tests/engine/test_sigterm.py tests/engine/test_workdir.py tests/test_files.py \
	tests/test_full_disk.py tests/tracking/test_outage.py tests/pipeline/test_dvc_faults.py

torture: $(STAMP)  ## kill every stage at random moments and compare md5s; then every other fault (half an hour)
	@python scripts/torture.py
	@OMP_NUM_THREADS=1 python -m pytest $(FAULTS)

fuzz: $(STAMP)  ## feed 200,000 damaged files to everything that parses (20 minutes)
	@python scripts/fuzz.py --inputs 200000

fresh:  ## run the two commands on a machine that has Debian, Python and make alone (needs root, mmdebstrap; an hour)
	@bash scripts/fresh.sh

lock: $(STAMP)  ## resolve the requirements into requirements.lock, for all supported Pythons, and deploy/requirements.lock
	@bash scripts/lock.sh && bash scripts/lock_tools.sh

docs:  ## the documentation as a site with search and the API: build/site/html
	@bash scripts/docs.sh

audit: $(STAMP)  ## known weaknesses of the locked packages, and the list of parts: build/sbom.json
	@bash scripts/audit.sh
