# The gateway with ONNX Runtime engines (fp32; int8 is quantised by the builder image and served by this one).
#   docker build -f docker/gateway.Dockerfile -t crosscheck .
# The tag is not pinned by digest: pin it in your own registry, where you know which digest you tested.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY docker/steps docker/steps
RUN sh docker/steps/install.sh
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY engines engines
COPY grafana grafana
RUN sh docker/steps/build.sh && sh docker/steps/trim.sh
COPY docker/*.mjs docker/

FROM node:24-bookworm-slim
COPY --from=build /app /app
RUN sh /app/docker/steps/place.sh
ENV NODE_ENV=production \
    PYTHONDONTWRITEBYTECODE=1 \
    CROSSCHECK_HOST=0.0.0.0 \
    CROSSCHECK_PORT=8000 \
    CROSSCHECK_REPOSITORY=/models \
    CROSSCHECK_STORE_PATH=/var/lib/crosscheck
# `node`, 1000 in this image; the store and, to compile, the models must be writable for it. /app is root's.
USER 1000:1000
WORKDIR /tmp
VOLUME ["/var/lib/crosscheck"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["node", "/app/docker/healthcheck.mjs"]
ENTRYPOINT ["node", "/app/docker/crosscheck.mjs"]
CMD ["serve"]
