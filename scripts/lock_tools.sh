#!/usr/bin/env bash
# Resolve the tools of `make docs` and `make audit`, which have environments of their own, into locks of their own: with
# the sha256 of all files, for every Python they run on. Versions that still fit stay; `--upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."

tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"${PYTHON:-.venv/bin/python}" -m venv "$tool/venv"
"$tool/venv/bin/pip" install --quiet uv
for name in docs:3.11 audit:3.10; do
    lock=requirements-${name%:*}
    # Versions alone are kept: hashes are fetched anew each time, so that a wrong one does not stay.
    if [[ -f $lock.lock ]]; then sed -E '/^ +--hash/d; s/ *\\$//' $lock.lock >"$tool/$lock"; fi
    "$tool/venv/bin/uv" pip compile --quiet --universal --no-annotate --no-header --generate-hashes \
        --python-version "${name#*:}" "$@" $lock.in --output-file "$tool/$lock" >/dev/null
    mv "$tool/$lock" $lock.lock
done
