# syntax=docker/dockerfile:1
# Small, without root, and reproducible: the base image is fixed by its version, every package by its hash.
ARG PYTHON=3.11.14
FROM python:${PYTHON}-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
ARG SOURCE_DATE_EPOCH=1763700000
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
WORKDIR /src
RUN python -m venv /opt/driftline
COPY constraints-image.txt ./
RUN /opt/driftline/bin/pip install --no-compile --require-hashes -r constraints-image.txt
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY detectors detectors
COPY driftline driftline
COPY stream stream
RUN /opt/driftline/bin/pip install --no-compile --no-deps --no-build-isolation -c constraints.txt . \
 && /opt/driftline/bin/pip uninstall --yes pip setuptools \
 && find /opt/driftline -name '__pycache__' -prune -exec rm -rf {} + \
 && find /opt/driftline -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

FROM python:${PYTHON}-slim-bookworm
LABEL org.opencontainers.image.title="driftline" \
      org.opencontainers.image.description="Watches machine-learning models in production and reports what changed." \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 driftline \
 && useradd --system --uid 10001 --gid driftline --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin driftline
COPY --from=build /opt/driftline /opt/driftline
COPY deploy/compose/simulate.py /opt/driftline/simulate.py
ENV PATH=/opt/driftline/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 9108
STOPSIGNAL SIGTERM
# Checks the event loop, not the connection to Kafka: a restart does not repair a broker.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9108/healthz', timeout=2)"]
ENTRYPOINT ["driftline"]
CMD ["worker"]
