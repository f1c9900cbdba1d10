#!/usr/bin/env bash
# Resolve the direct dependencies for every supported Python into requirements.lock.
# torch's own CUDA libraries stay out: they differ from build to build, and torch pins them itself.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
.venv/bin/python -m venv "$tool/venv"
"$tool/venv/bin/pip" install --quiet uv
# mmcv and mmsegmentation ask for the OpenCV with windows, which needs libGL; the headless one is the same library.
echo "opencv-python ; sys_platform == 'never'" >"$tool/overrides.txt"
"$tool/venv/bin/uv" pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header \
    --override "$tool/overrides.txt" requirements-dev.in |
    grep -vE "^(nvidia-|cuda-|triton|opencv-python==)|sys_platform == 'win32'" >requirements.lock.new
mv requirements.lock.new requirements.lock
