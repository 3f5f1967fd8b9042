# The gateway with TensorRT, to compile and to serve, on machines with an NVIDIA GPU. The driver comes from the host through
# the NVIDIA Container Toolkit; CUDA's toolkit is not needed.
#   docker build -f docker/tensorrt.Dockerfile -t crosscheck-tensorrt --build-arg GATEWAY=crosscheck:latest .
#   docker run --gpus all ...
# Plans belong to one TensorRT version and one GPU type: build them with the image that serves them.
ARG GATEWAY=crosscheck:latest
FROM ${GATEWAY}
ARG TENSORRT=10.13.3.9
USER 0:0
RUN apt-get update && \
    apt-get install -y --no-install-recommends python3 python3-venv && \
    rm -rf /var/lib/apt/lists/*
RUN sh /app/docker/steps/setup-tensorrt.sh "${TENSORRT}"
ENV CROSSCHECK_TENSORRT_PYTHON=/opt/tensorrt/bin/python \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
