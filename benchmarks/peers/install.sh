#!/usr/bin/env bash
# Environments of the peers, which pin other versions of torch and of much else (6 GB each); pytorch-grad-cam is a
# folder of a megabyte, which the project's own environment imports from.
# Usage: bash benchmarks/peers/install.sh [grad_cam] [slides]     (both, if none is named)
set -euo pipefail
wanted=" ${*:-grad_cam slides} "
pip() { "$1/bin/pip" install --disable-pip-version-check --quiet "${@:2}"; }
if [[ $wanted == *" grad_cam "* ]]; then
    python3 -m pip install --disable-pip-version-check --quiet --no-deps --upgrade \
        --target .venv-grad-cam grad-cam==1.5.7 ttach==0.0.3 # without torchvision, which no CAM needs
fi
if [[ $wanted == *" slides "* ]]; then
    "${PYTHON:-python3}" -m venv .venv-peers
    pip .venv-peers tiatoolbox==2.1.3 pydantic pyarrow scikit-learn # the last three for wsss_mm
    pip .venv-peers --no-deps monai==1.6.1                          # needs nothing that is not there
    "${PYTHON:-python3}" -m venv .venv-lazyslide
    pip .venv-lazyslide lazyslide==0.13.0
fi
