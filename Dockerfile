# The images of nas, by target:
#
#     docker build --target controller --build-arg TORCH_INDEX=URL --tag nas-controller .
#     docker build --target worker --build-arg TORCH_INDEX=URL --tag nas-worker .
#     docker build --target worker-gpu --tag nas-worker-gpu .
#
# TORCH_INDEX: a further index, for pip, that has the builds of torch for CPUs only. Without it torch is the build for
#     GPUs, which runs everywhere and is several GB larger. It stays readable in the image: no URL with a password.
# EXTRAS: of the package; postgres,hf adds data sets of Hugging Face and the export to transformers.

FROM python:3.11.14-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 PATH=/opt/nas/bin:$PATH


# The package, as a wheel.
FROM base AS wheel
WORKDIR /source
COPY constraints.txt ./
RUN pip install --constraint constraints.txt build hatchling
COPY pyproject.toml README.md LICENSE ./
COPY nas nas
COPY services services
COPY dashboards dashboards
COPY search_spaces search_spaces
COPY benchmarks benchmarks
RUN python -m build --wheel --no-isolation --outdir /wheels


# What it needs. The two largest come first: they stay when the code or another version changes.
FROM base AS packages-cpu
ARG TORCH_INDEX=
ARG EXTRAS=postgres
RUN python -m venv /opt/nas
COPY constraints.txt /
RUN pip install --constraint /constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} torch "ray[tune]"
COPY --from=wheel /wheels /wheels
RUN pip install --constraint /constraints.txt ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    "$(echo /wheels/nas-*.whl)[$EXTRAS]"


FROM base AS packages-gpu
ARG EXTRAS=postgres
RUN python -m venv /opt/nas
COPY constraints.txt /
RUN pip install --constraint /constraints.txt torch "ray[tune]"
COPY --from=wheel /wheels /wheels
RUN pip install --constraint /constraints.txt "$(echo /wheels/nas-*.whl)[$EXTRAS]"


# What runs: nobody's login, and three folders that it can write. Volumes that are new take over their owner.
FROM base AS runtime
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin nas \
    && install --directory --owner nas --group nas --mode 700 /run/nas \
    && install --directory --owner nas --group nas /var/lib/nas /var/lib/nas/corpora /srv/nas
COPY --chmod=755 deploy/start.sh deploy/watch.py /usr/local/lib/nas/
# GOMP_SPINCOUNT as the command `nas` sets it, here also for what Ray starts; the others as `nas` sets them for itself.
ENV NAS_HOME=/var/lib/nas \
    GOMP_SPINCOUNT=1000 \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0
USER 10001:10001
WORKDIR /var/lib/nas
VOLUME /var/lib/nas
ENTRYPOINT ["/usr/local/lib/nas/start.sh"]


# Also the head of a Ray cluster, with another command.
FROM runtime AS controller
COPY --from=packages-cpu /opt/nas /opt/nas
EXPOSE 8470
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s --retries=4 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8470/readyz', timeout=8)"]
CMD ["nas", "serve", "--host", "0.0.0.0", "--auth", "token"]


# torch.compile calls a C++ compiler.
FROM runtime AS trainer
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=4 \
    CMD ["python", "-S", "-c", "import socket; socket.create_connection(('127.0.0.1', 6380), 8)"]
CMD ["ray", "start", "--address=ray-head:6379", "--node-manager-port=6380", "--block"]


FROM trainer AS worker
COPY --from=packages-cpu /opt/nas /opt/nas


FROM trainer AS worker-gpu
COPY --from=packages-gpu /opt/nas /opt/nas
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
