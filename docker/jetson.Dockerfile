# The gateway on a Jetson with JetPack 6.1 or 6.2 (L4T r36.4): TensorRT 10.3 is JetPack's own, from the base image. Build it on the
# Jetson, after the gateway image (docker/gateway.Dockerfile, on the Jetson too: its packages are then arm64's).
#   docker build -f docker/jetson.Dockerfile -t crosscheck-jetson --build-arg GATEWAY=crosscheck:latest .
#   docker run --runtime nvidia ...
ARG GATEWAY=crosscheck:latest
FROM ${GATEWAY} AS gateway

FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
COPY --from=gateway /usr/local/bin/node /usr/local/bin/node
COPY --from=gateway /app /app
RUN sh /app/docker/steps/place.sh
ENV NODE_ENV=production \
    PYTHONDONTWRITEBYTECODE=1 \
    CROSSCHECK_HOST=0.0.0.0 \
    CROSSCHECK_PORT=8000 \
    CROSSCHECK_REPOSITORY=/models \
    CROSSCHECK_STORE_PATH=/var/lib/crosscheck \
    CROSSCHECK_TENSORRT_PYTHON=/usr/bin/python3
USER 1000:1000
WORKDIR /tmp
VOLUME ["/var/lib/crosscheck"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "/app/docker/healthcheck.mjs"]
ENTRYPOINT ["node", "/app/docker/crosscheck.mjs"]
CMD ["serve"]
