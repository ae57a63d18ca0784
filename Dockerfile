# Images of Alambique, one a target, every Python package at its locked version, by hash:
#
#   airflow  Airflow's side, without any ML: scheduler, API server, triggerer; workers, where stages are pods
#   worker   the same with the ML packages: workers in which stages run
#   ml       what a stage's pod and Kubeflow's steps run on; `alambique` is its entry point
#   mlflow   MLflow's server
#
#   docker build --target ml --tag registry.example.org/alambique-ml .
#
# For Airflow's official chart, whose pods call programs of its own image, `airflow` and `worker` are built with
# `--build-arg BASE=docker.io/apache/airflow:slim-3.3.2-python3.12`.
ARG BASE=docker.io/library/python:3.12-slim-bookworm

FROM ${BASE} AS build
USER 0
ARG UV=0.13.9
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==${UV}
ENV PATH=/opt/uv/bin:$PATH UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build

FROM build AS wheel
COPY . .
RUN uv build --wheel --build-constraints requirements.lock --require-hashes --out-dir /wheel

FROM build AS airflow-packages
COPY requirements-airflow.lock .
RUN uv venv /opt/alambique \
    && uv pip sync --python /opt/alambique/bin/python --require-hashes requirements-airflow.lock
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    uv pip install --python /opt/alambique/bin/python --no-deps /wheel/*.whl

FROM build AS ml-packages
# cuda: the lock's PyTorch, with several GB of NVIDIA's libraries. cpu: its builds without them, at the same versions, from
# PyTorch's own index; those alone come without a locked hash.
ARG ACCELERATOR=cuda
COPY requirements-ml.lock .
RUN uv venv /opt/alambique \
    && uv pip sync --python /opt/alambique/bin/python --require-hashes requirements-ml.lock \
    && if [ "$ACCELERATOR" = cpu ]; then \
        uv pip freeze --python /opt/alambique/bin/python | sed -nE 's/^(nvidia|cuda|triton)(.*)==.*/\1\2/p' > unused \
        && grep -oE '^torch(vision)?==[0-9.]+' requirements-ml.lock > torch \
        && uv pip uninstall --python /opt/alambique/bin/python --requirements unused \
        && uv pip install --python /opt/alambique/bin/python --no-deps --reinstall --torch-backend cpu --requirements torch; \
    fi
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    uv pip install --python /opt/alambique/bin/python --no-deps /wheel/*.whl

FROM build AS mlflow-packages
COPY requirements-mlflow.lock .
RUN uv venv /opt/alambique \
    && uv pip sync --python /opt/alambique/bin/python --require-hashes requirements-mlflow.lock

FROM ${BASE} AS runtime
USER 0
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --mode=775 --group=0 /opt/airflow /home/airflow
# As in Airflow's own image: any user of group 0 may write here, so that a cluster may choose the user.
ENV PATH=/opt/alambique/bin:$PATH HOME=/home/airflow USER=airflow AIRFLOW_HOME=/opt/airflow PYTHONDONTWRITEBYTECODE=1
ARG VERSION=0 REVISION=unknown
LABEL org.opencontainers.image.title=alambique \
    org.opencontainers.image.description="From a DVC-versioned dataset to a promoted, edge-ready student model" \
    org.opencontainers.image.licenses=AGPL-3.0-or-later \
    org.opencontainers.image.version=${VERSION} \
    org.opencontainers.image.revision=${REVISION}
WORKDIR /home/airflow
USER 50000:0

FROM runtime AS mlflow
COPY --from=mlflow-packages /opt/alambique /opt/alambique
CMD ["mlflow", "server", "--help"]

FROM runtime AS airflow
COPY --from=airflow-packages /opt/alambique /opt/alambique
CMD ["airflow", "version"]

FROM runtime AS worker
COPY --from=ml-packages /opt/alambique /opt/alambique
CMD ["airflow", "version"]

FROM worker AS ml
ENTRYPOINT ["alambique"]
CMD ["--help"]
