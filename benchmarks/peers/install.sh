#!/usr/bin/env bash
# Environments of the peers, which pin other versions of torch and of much else (6 GB each).
# Usage: bash benchmarks/peers/install.sh [FOLDER [FOLDER OF LAZYSLIDE]]
set -euo pipefail
folder=${1:-.venv-peers}
lazyslide=${2:-.venv-lazyslide}
pip() { "$1/bin/pip" install --disable-pip-version-check --quiet "${@:2}"; }
"${PYTHON:-python3}" -m venv "$folder"
pip "$folder" tiatoolbox==2.1.3 pydantic pyarrow scikit-learn  # the last three for wsss_mm
pip "$folder" --no-deps monai==1.6.1                           # needs nothing that is not there
"${PYTHON:-python3}" -m venv "$lazyslide"
pip "$lazyslide" lazyslide==0.13.0
echo "now run: python -m benchmarks.windows_per_second --peer $folder/bin/python --lazyslide $lazyslide/bin/python"
