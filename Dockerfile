# One image for all services; `deployment.run SERVICE` becomes one of them. What is installed, and how, is the same code as
# without Docker. Each stage takes only the files that it needs, so that a change elsewhere does not build MinIO again.

FROM golang:1.26-bookworm AS minio
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/opt/cache
WORKDIR /app
COPY deployment/__init__.py deployment/chdb.py deployment/chromium.py deployment/command.py deployment/console.py deployment/debian.py deployment/environment.py \
     deployment/install.py deployment/jars.py deployment/minio.py deployment/paths.py deployment/postgres.py deployment/prometheus.py deployment/public.py \
     deployment/steps.py deployment/
COPY config/jars config/jars
RUN python3 -m deployment.install minio

FROM debian:12-slim AS jars
RUN apt-get update && apt-get install -y --no-install-recommends maven python3 && rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/opt/cache
WORKDIR /app
COPY deployment/__init__.py deployment/chdb.py deployment/chromium.py deployment/command.py deployment/console.py deployment/debian.py deployment/environment.py \
     deployment/install.py deployment/jars.py deployment/minio.py deployment/paths.py deployment/postgres.py deployment/prometheus.py deployment/public.py \
     deployment/steps.py deployment/
COPY config/jars config/jars
RUN python3 -m deployment.install kafka-jars spark-jars

FROM python:3.11-slim-bookworm
# Some packages want the folder of manual pages, which slim images lack.
RUN mkdir -p /usr/share/man/man1 && apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps && rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/opt/cache
WORKDIR /app
COPY deployment/__init__.py deployment/chdb.py deployment/chromium.py deployment/command.py deployment/console.py deployment/debian.py deployment/environment.py \
     deployment/install.py deployment/jars.py deployment/minio.py deployment/paths.py deployment/postgres.py deployment/prometheus.py deployment/public.py \
     deployment/steps.py deployment/
COPY config/jars config/jars
COPY pyproject.toml requirements.lock README.md ./
RUN python3 -m deployment.install postgresql prometheus public && rm -rf /var/lib/apt/lists/*
RUN python3 -m deployment.install python-environment && rm -rf /opt/cache/crypto-lakehouse/uv
COPY --from=jars /opt/cache/crypto-lakehouse /opt/cache/crypto-lakehouse
COPY --from=minio /opt/cache/crypto-lakehouse /opt/cache/crypto-lakehouse
COPY config config
COPY shared shared
COPY streaming streaming
COPY alerts alerts
COPY crypto_pipeline crypto_pipeline
COPY dashboard dashboard
COPY monitoring monitoring
COPY serving serving
COPY deployment deployment
# A named volume takes the owner of the folder that it covers.
RUN useradd --create-home --uid 1000 crypto && mkdir /data && chown crypto:crypto /data
ENV CRYPTO_HOME=/data PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
USER crypto
ENTRYPOINT ["python", "-m", "deployment.run"]
