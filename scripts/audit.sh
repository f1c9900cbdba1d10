#!/usr/bin/env bash
# Known weaknesses of the locked packages, and the list of parts (SBOM) of what is installed: build/sbom.json, CycloneDX.
# The tools live in an environment of their own, .venv-audit. Whether a version is known to be weak, PyPI is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv-audit
if [[ ! $venv/.installed -nt requirements-audit.lock ]]; then
    rm -rf $venv
    "${PYTHON:-python3}" -m venv $venv
    timeout 300 $venv/bin/python -m pip --disable-pip-version-check --quiet install \
        --require-hashes -r requirements-audit.lock 2>$venv/said || {
        echo "audit: the packages of requirements-audit.lock cannot be had: $(tail -n 1 $venv/said)" >&2
        exit 3
    }
    touch $venv/.installed
fi

mkdir -p build
$venv/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json \
    .venv/bin/python 2>build/audit.said || {
    echo "audit: no list of parts: $(tail -n 1 build/audit.said)" >&2
    exit 1
}
echo "audit: build/sbom.json lists what is installed"

# Strict: a mirror that knows of no weaknesses answers "not found" to all that is asked, which would pass for none.
# torch is not in the lock, whose every other package has hashes; its version is asked for by itself.
for asked in "--require-hashes -r requirements.lock" "--no-deps -r build/torch.txt"; do
    grep '^torch==' requirements.in >build/torch.txt
    status=0
    timeout "${AUDIT_WAIT:-300}" $venv/bin/pip-audit --strict --disable-pip --progress-spinner off --timeout 10 $asked \
        >build/audit.txt 2>build/audit.said || status=$?
    if [[ $status != 0 ]] && ! grep -q 'known vulnerabilit' build/audit.said; then
        echo "audit: nothing is known of weaknesses, PyPI does not answer: $(grep -v '^ *$' build/audit.said | tail -n 1)" >&2
        exit 3
    fi
    cat build/audit.txt
    [[ $status == 0 ]] || { cat build/audit.said >&2; exit 1; }
done
echo "audit: no version in requirements.lock has a known weakness"
