#!/usr/bin/env bash
# Resolve the direct dependencies for every supported Python into requirements.lock, with the sha256 of all their files,
# and those of the server's container into deploy/requirements.lock, with the same versions.
# torch is not among them: each platform takes its own build, which pins its CUDA libraries itself.
# A version that is locked and still fits stays: `bash scripts/lock.sh --upgrade` takes the newest of all packages.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool" requirements.lock.new deploy/requirements.lock.new' EXIT
"${PYTHON:-.venv/bin/python}" -m venv "$tool/venv"
"$tool/venv/bin/pip" install --quiet uv
# mmcv and mmsegmentation ask for the OpenCV with windows, which needs libGL; the headless one is the same library.
echo "opencv-python ; sys_platform == 'never'" >"$tool/overrides.txt"

# Versions alone: hashes are fetched anew each time, so that a wrong one does not stay.
versions() { sed -E '/^ +--hash/d; s/ *\\$//' "$1"; }

# resolve INPUT LOCK [OPTION ...]: write LOCK.new
resolve() {
    local input=$1 lock=$2
    shift 2
    if [[ -f $lock ]]; then versions "$lock" >"$tool/resolved"; else : >"$tool/resolved"; fi
    "$tool/venv/bin/uv" pip compile --quiet --universal --no-annotate --no-header --generate-hashes \
        --override "$tool/overrides.txt" "$@" "$input" --output-file "$tool/resolved" >/dev/null
    # A requirement's hashes are lines of their own, indented, and leave with it.
    awk '
        /^[^ ]/ { left_out = /^(nvidia-|cuda-|triton|opencv-python==)/ || (/sys_platform == .win32./ && !/ or /) }
        !left_out
    ' "$tool/resolved" >"$lock.new"
}

resolve requirements-dev.in requirements.lock --python-version 3.10 --no-emit-package torch --no-emit-package wsss-mm "$@"
versions requirements.lock.new >"$tool/versions.txt"
resolve deploy/requirements.in deploy/requirements.lock --python-version 3.11 --constraint "$tool/versions.txt"
mv requirements.lock.new requirements.lock
mv deploy/requirements.lock.new deploy/requirements.lock
