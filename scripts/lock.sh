#!/usr/bin/env bash
# Resolve the direct dependencies for every supported Python into requirements.lock, with the sha256 of all their files.
# torch is not among them: each platform takes its own build, which pins its CUDA libraries itself.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool" requirements.lock.new' EXIT
.venv/bin/python -m venv "$tool/venv"
"$tool/venv/bin/pip" install --quiet uv
# mmcv and mmsegmentation ask for the OpenCV with windows, which needs libGL; the headless one is the same library.
echo "opencv-python ; sys_platform == 'never'" >"$tool/overrides.txt"
"$tool/venv/bin/uv" pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header --generate-hashes \
    --no-emit-package torch --override "$tool/overrides.txt" requirements-dev.in >"$tool/resolved"
# A requirement's hashes are lines of their own, indented, and leave with it.
awk '
    /^[^ ]/ { left_out = /^(nvidia-|cuda-|triton|opencv-python==)/ || (/sys_platform == .win32./ && !/ or /) }
    !left_out
' "$tool/resolved" >requirements.lock.new
mv requirements.lock.new requirements.lock
