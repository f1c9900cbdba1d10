"""A linear probe on an encoder's features: the first baseline, minutes where a training takes hours.

Run after `dvc repro gate@patches`. One logistic regression a class learns from the label sets of the training patches,
on the encoder's last features averaged over each patch, and is judged on validation and test by average precision. A
row of JSON an encoder is added to --out; those that are there are skipped. Nothing of it is drawn, so that there are no
seeds. Features are kept in work_dirs/features. `python -m studies.tables` makes the table.
"""

import argparse
import logging
import sys
from pathlib import Path

from studies.rows import add_row, read_rows
from wsss_mm import places
from wsss_mm.errors import InputError
from wsss_mm.evaluation.linear_probe import probed
from wsss_mm.features.patches import PatchEncoder, patch_features, published, statistics
from wsss_mm.files import digest
from wsss_mm.patches import read_manifest
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import get_vocabulary

STATISTICS = "statistics"
"""What --encoders calls colour and texture, without a network."""


def main() -> None:
    """Probe every encoder that has no row of these patches yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "encoders", nargs="*", default=[STATISTICS], help=f"names of encoders.yaml, or {STATISTICS} (default)"
    )
    parser.add_argument("--out", type=Path, default=places.STUDIES / "probe.jsonl", help="(default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    try:
        _run(arguments)
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def _run(arguments: argparse.Namespace) -> None:
    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    manifest = read_manifest(places.PATCHES, vocabulary)
    patches = digest(places.PATCHES / places.MANIFEST)
    done = {(row["cohort"], row["encoder"], row["patches"]) for row in read_rows(arguments.out)}
    for name in arguments.encoders:
        if (params.cohort.name, name, patches) in done:
            continue
        encoder: PatchEncoder = statistics() if name == STATISTICS else published(name)
        features = patch_features(manifest, places.PATCHES, encoder, places.FEATURES_MEMORY)
        row = {"cohort": params.cohort.name, "encoder": name, "patches": patches, "digest": encoder.digest}
        add_row(arguments.out, row | probed(features, manifest, vocabulary.codes))


if __name__ == "__main__":
    main()
