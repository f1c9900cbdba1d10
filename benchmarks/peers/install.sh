#!/usr/bin/env bash
# Environment of its own for the comparison with tiatoolbox, which pins other versions of torch and of much else (6 GB).
# Usage: bash benchmarks/peers/tiatoolbox.sh [FOLDER]
set -euo pipefail
folder=${1:-.venv-tiatoolbox}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --disable-pip-version-check --quiet tiatoolbox==2.1.3 pydantic pyarrow scikit-learn  # the last three for wsss_mm
echo "now run: python -m benchmarks.tiatoolbox_windows --peer $folder/bin/python"
