# The gateway with everything that compiles for CPUs: TVM (AutoTVM, AutoScheduler, MetaSchedule) and int8 quantisation.
# It serves their engines too: TVM's runtime is in it. AutoTVM and AutoScheduler are published for x86-64 only.
#   docker build -f docker/builder.Dockerfile -t crosscheck-builder --build-arg GATEWAY=crosscheck:latest .
ARG GATEWAY=crosscheck:latest

# The JDK and Maven fetch TVM's libraries and stay behind in this stage.
FROM ${GATEWAY} AS setup
# hadolint ignore=DL3002
USER 0:0
RUN apt-get update && \
    apt-get install -y --no-install-recommends python3 python3-venv gcc libc6-dev default-jdk-headless maven && \
    rm -rf /var/lib/apt/lists/*
RUN sh /app/docker/steps/setup-families.sh onnxruntime autotvm autoscheduler metaschedule

FROM ${GATEWAY}
USER 0:0
# TVM links what it has compiled with a C++ compiler while it tunes.
RUN apt-get update && \
    apt-get install -y --no-install-recommends python3 g++ && \
    rm -rf /var/lib/apt/lists/*
COPY --from=setup /app/engines /app/engines
# TVM keeps caches in the home folder and beside its programs: compile with a writable root file system, or mount both.
ENV HOME=/tmp
USER 1000:1000
