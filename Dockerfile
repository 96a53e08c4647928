# railwatch on a CPU: docker build -t railwatch . && docker run --rm -v "$PWD:/work" railwatch demo
FROM python:3.13-slim

# matplotlib, GDAL and OpenCV (headless) bring all they need in their wheels.
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib

WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
# PyTorch first, in a layer of its own: it is most of the image and changes seldom.
RUN pip install --constraint requirements.lock --extra-index-url https://download.pytorch.org/whl/cpu torch torchvision
COPY aoi aoi
COPY geo geo
COPY detector detector
COPY railwatch railwatch
COPY seeds seeds
COPY configs configs
COPY sample_tiles sample_tiles
RUN pip install --constraint requirements.lock --extra-index-url https://download.pytorch.org/whl/cpu . \
    && rm -rf /src \
    && useradd --create-home railwatch

# Whoever runs it mounts a folder here; with --user "$(id -u):$(id -g)" the files that it makes are theirs.
WORKDIR /work
USER railwatch
ENTRYPOINT ["railwatch"]
CMD ["--help"]
