# One image for every part: `engram migrate`, `engram engine`, `python -m server.main`, `python -m worker.main`.
# CPU build. For NVIDIA GPUs, build where nvidia-smi is visible to the build and scripts/setup.py takes the GPU build.
FROM python:3.11-slim-bookworm

# vLLM compiles small kernels at start.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 libgl1 libglib2.0-0 curl \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY requirements requirements
COPY scripts scripts
COPY engram/__init__.py engram/hardware.py engram/
RUN PIP_NO_CACHE_DIR=1 python scripts/setup.py --no-dev
COPY . .

RUN useradd --create-home engram && mkdir /data && chown engram /data
USER engram
ENV ENGRAM_HOME=/data PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "server.main"]
