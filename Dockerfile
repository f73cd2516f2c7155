# One image for every process of Paretrack: docker-compose.yml says which command each one runs.
#
# torch: the CPU build is a tenth of the size of the others. Where your package index has both,
# choose it with PIP_ARGS, or point PIP_ARGS at the index that holds the build for your GPU:
#   docker compose build --build-arg PIP_ARGS="--extra-index-url ..."
FROM python:3.11-slim AS build
ARG PIP_ARGS=""
WORKDIR /src
RUN python -m venv /opt/paretrack
COPY requirements.lock ./
RUN /opt/paretrack/bin/python -m pip install --no-cache-dir --no-deps ${PIP_ARGS} -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY search_spaces search_spaces
COPY workers workers
COPY service service
RUN /opt/paretrack/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation ${PIP_ARGS} . \
 && /opt/paretrack/bin/python -m pip check

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 paretrack \
 && install -d -o paretrack -g paretrack /var/lib/paretrack
COPY --from=build /opt/paretrack /opt/paretrack
COPY --chmod=755 deploy/controller.sh deploy/ray-head.sh deploy/ray-worker.sh /usr/local/bin/
ENV PATH=/opt/paretrack/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PARETRACK_HOME=/var/lib/paretrack \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    OMP_NUM_THREADS=1
USER paretrack
WORKDIR /var/lib/paretrack
VOLUME /var/lib/paretrack
CMD ["paretrack", "--help"]
