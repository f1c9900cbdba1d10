#!/usr/bin/env bash
# Build the documentation as a site with search: build/site/html, without a warning and without a broken link.
# `bash scripts/docs.sh --setup` makes the environment alone, .venv-docs, with the versions of requirements-docs.lock.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-docs
if [[ ! $venv/.installed -nt requirements-docs.lock ]]; then
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
        echo "docs: Python 3.11 or newer is needed; name one with: make docs PYTHON=/path/to/python3" >&2
        exit 2
    }
    rm -rf $venv
    "$python" -m venv $venv
    timeout "${DOCS_WAIT:-300}" $venv/bin/python -m pip --disable-pip-version-check --quiet install \
        --require-hashes -r requirements-docs.lock 2>$venv/said || {
        echo "docs: the packages of requirements-docs.lock cannot be had: $(tail -n 1 $venv/said)" >&2
        exit 3
    }
    touch $venv/.installed
fi
[[ ${1:-} != --setup ]] || exit 0

$venv/bin/python scripts/docs_site.py stage
said=build/site/said
if ! $venv/bin/zensical build --strict --clean -f build/site/zensical.toml >$said 2>&1 || grep -qiE '^ *warning' $said; then
    cat $said >&2
    echo "docs: the site is not built; mend what is named above" >&2
    exit 1
fi
$venv/bin/python scripts/docs_site.py check
echo "docs: build/site/html; to see it, with search: python3 -m http.server --bind 127.0.0.1 --directory build/site/html"
