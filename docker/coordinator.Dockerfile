# A trust's coordinator: API, worker and SuperLink.  Built from the top of the repository, with the digest that `python3 docker/pin.py` has
# written to docker/images.lock; the one that stands here is none, so that nothing is built without.
#   . docker/images.lock
#   docker build -f docker/coordinator.Dockerfile --build-arg PYTHON_DIGEST="$PYTHON_DIGEST" -t datatrust-coordinator:0.1.0 .
ARG PYTHON_DIGEST=run-docker-pin.py-first

FROM python:3.11-slim-bookworm@sha256:${PYTHON_DIGEST} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# The environment has no pip of its own: the builder's works on it.
RUN python -m venv --without-pip /opt/datatrust
COPY requirements/run.txt requirements/run.txt
RUN python -m pip --python /opt/datatrust/bin/python install --only-binary :all: --require-hashes --no-deps -r requirements/run.txt
COPY LICENSE README.md pyproject.toml ./
COPY trust trust
COPY nodes nodes
COPY coordinator coordinator
COPY datatrust datatrust
RUN python -m pip --python /opt/datatrust/bin/python install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm@sha256:${PYTHON_DIGEST}
LABEL org.opencontainers.image.title="datatrust coordinator" \
      org.opencontainers.image.description="A trust's coordinator: API, worker and SuperLink." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
ENV FLWR_TELEMETRY_ENABLED=0 \
    FLWR_DISABLE_UPDATE_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
COPY --from=builder /opt/datatrust /opt/datatrust
# Last of all pip and the shells go: nothing here needs one.
RUN groupadd --gid 10002 datatrust \
    && useradd --uid 10002 --gid 10002 --home-dir /var/lib/datatrust --no-create-home --shell /usr/sbin/nologin datatrust \
    && install --directory --owner=10002 --group=10002 --mode=0700 /var/lib/datatrust \
    && python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && rm -f /bin/sh /bin/dash /bin/bash /bin/rbash
ENV PATH=/opt/datatrust/bin:$PATH
USER 10002:10002
WORKDIR /var/lib/datatrust
VOLUME /var/lib/datatrust
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import ssl, urllib.request as u; own = ssl.create_default_context(cafile='/var/lib/datatrust/coordinator/engine/ca.pem'); u.urlopen('https://127.0.0.1:8443/livez', timeout=5, context=own)"]
ENTRYPOINT ["datatrust"]
CMD ["coordinator", "run", "--home", "/var/lib/datatrust"]
