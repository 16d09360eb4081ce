# One image for all services; `deployment.run SERVICE` becomes one of them. What is installed, and how, is the same code as
# without Docker. Each stage takes only the files that it needs, so that a change elsewhere does not build MinIO again.

FROM golang:1.26-bookworm AS minio
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/opt/cache
WORKDIR /app
COPY deployment/__init__.py deployment/console.py deployment/install.py deployment/paths.py deployment/steps.py deployment/command.py deployment/minio.py deployment/
RUN python3 -m deployment.install minio minio-client \
    && go version -m /opt/cache/crypto-lakehouse/m* > /opt/cache/crypto-lakehouse/go-modules.txt

FROM debian:12-slim AS jars
RUN apt-get update && apt-get install -y --no-install-recommends maven python3 && rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/opt/cache
WORKDIR /app
COPY deployment/__init__.py deployment/console.py deployment/install.py deployment/paths.py deployment/steps.py deployment/jars.py deployment/
COPY config/jars config/jars
RUN python3 -m deployment.install kafka-jars spark-jars

FROM python:3.11-slim-bookworm
# Some packages want the folder of manual pages, which slim images lack.
RUN mkdir -p /usr/share/man/man1 && apt-get update \
    && apt-get install -y --no-install-recommends openjdk-17-jre-headless procps && rm -rf /var/lib/apt/lists/*
ENV XDG_CACHE_HOME=/opt/cache
WORKDIR /app
COPY deployment/__init__.py deployment/console.py deployment/install.py deployment/paths.py deployment/steps.py deployment/command.py \
     deployment/debian.py deployment/postgres.py deployment/prometheus.py deployment/public.py deployment/
RUN python3 -m deployment.install postgresql prometheus public && rm -rf /var/lib/apt/lists/*
COPY deployment/environment.py deployment/
COPY pyproject.toml requirements.lock README.md ./
RUN python3 -m deployment.install python-environment-without-tests && rm -rf /opt/cache/crypto-lakehouse/uv
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
# The root is read-only, so the bytecode is made now.
RUN .venv/bin/python -m compileall -q alerts crypto_pipeline dashboard deployment monitoring serving shared streaming \
    && ln -s /app/deployment/bin/mc /usr/local/bin/mc \
    && for name in configs console-consumer console-producer consumer-groups get-offsets log-dirs topics; \
       do ln -s /app/deployment/bin/kafka-tool /usr/local/bin/kafka-$name && ln -s kafka-$name /usr/local/bin/kafka-$name.sh; done
RUN .venv/bin/python -m deployment.sbom > sbom.cdx.json
# A named volume takes the owner of the folder that it covers.
RUN useradd --create-home --uid 1000 crypto && mkdir /data && chown crypto:crypto /data
ENV CRYPTO_HOME=/data PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
USER crypto
ENTRYPOINT ["python", "-m", "deployment.run"]
