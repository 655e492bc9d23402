# Image of a worker: docker build -t batchgen . && docker run --env-file .env batchgen
FROM python:3.13-slim AS build
COPY . /src
RUN pip install --no-cache-dir --prefix=/install -c /src/constraints.txt /src

FROM python:3.13-slim
COPY --from=build /install /usr/local
RUN useradd --system --no-create-home batchgen
USER batchgen
# On SIGTERM, running items may continue for BATCHGEN_GRACE_SECONDS (30), then the worker releases them. Give the
# container 15 seconds more: docker run --stop-timeout 45, terminationGracePeriodSeconds: 45.
STOPSIGNAL SIGTERM
ENTRYPOINT ["batchgen", "worker"]
