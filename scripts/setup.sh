#!/usr/bin/env bash
# Create .venv with exactly the versions of requirements.lock, and the package itself, in editable form in its own checkout.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || {
    echo "setup: Python 3.10 or newer is needed; name one with: make PYTHON=/path/to/python3" >&2
    exit 2
}

# Debian and Ubuntu ship venv apart from Python, and DVC needs git.
missing=()
"$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v git >/dev/null || missing+=(git)
if ((${#missing[@]})); then
    if [[ $(id -u) == 0 ]]; then root=(env); else root=(sudo -n); fi
    if ! said=$({ "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq "${missing[@]}"; } 2>&1); then
        echo "setup: missing ${missing[*]}; install with: sudo apt-get install ${missing[*]}" >&2
        tail -n 1 <<<"$said" >&2
        exit 2
    fi
fi

if [[ ! -x .venv/bin/python ]]; then
    echo "setup: creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }

# Without dependencies: the lock is complete, and it holds the headless OpenCV where mmcv asks for the one with windows.
# Then torch, with what it still lacks: each platform's build has its own hash and libraries (CUDA's or none).
echo "setup: installing the locked packages into .venv (2 minutes, once)"
pip install --no-deps --require-hashes -r requirements.lock
pip install "$(grep '^torch==' requirements.in)"
if [[ -d wsss_mm ]]; then
    pip install --no-deps --no-build-isolation -e .
else  # a project of `wsss-mm init`: the package of its version, from the index or from where PIP_FIND_LINKS leads
    pip install --no-deps "$(sed -n 's/^wsss-mm\[line\]==/wsss-mm==/p' requirements.in)"
fi

# The JavaScript of pages, pinned and checked. Everything else works without, and the script says what does not.
.venv/bin/python scripts/javascript.py || true
touch .venv/.installed
