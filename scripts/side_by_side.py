"""The README's picture: test patches with pseudo-label, segmentation and truth. Run after `make repro`."""

import argparse
from pathlib import Path

from wsss_mm import places
from wsss_mm.cam import PseudoLabeller
from wsss_mm.cam.store import label_patches
from wsss_mm.evaluation.predict import predict_patches
from wsss_mm.files import atomic_path
from wsss_mm.models import load_model
from wsss_mm.models.members import load_classifiers
from wsss_mm.patches import read_manifest
from wsss_mm.patches.background import without_glass
from wsss_mm.pictures import SheetRow, contact_sheet, overlays
from wsss_mm.settings import load_params
from wsss_mm.vocabulary import get_vocabulary


def main() -> None:
    """Draw patches that hold at least three classes, evenly spaced over the test split."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/side-by-side.png"), help="PNG to write")
    parser.add_argument("--patches", type=int, default=4, help="how many")
    arguments = parser.parse_args()
    params = load_params()
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    folder = places.PATCHES
    manifest = read_manifest(folder, vocabulary)
    rich = manifest[(manifest["split"] == "test") & (manifest[list(vocabulary.codes)].sum(axis=1) >= 3)]
    rows = rich.iloc[:: max(1, len(rich) // arguments.patches)].head(arguments.patches)

    (classifier, *others), _ = load_classifiers(places.CLASSIFIER)
    segmenter, _ = load_model(places.SEGMENTER)
    labeller = PseudoLabeller(classifier, others=others, **params.pseudo_labels.model_dump())
    labelled = label_patches(labeller, rows, folder, vocabulary, among=manifest)
    labels = {patch.row["patch_id"]: patch.labels for patch in labelled}
    options = params.evaluate
    predictions = predict_patches(segmenter, classifier, rows, folder, scales=options.scales, flip=options.flip)
    sheet = []
    for found in predictions:
        maps = (labels[found.patch_id], without_glass(found.image, found.ungated, params.patches.mpp), found.truth)
        sheet.append(SheetRow(overlays(found.image, maps, vocabulary), found.patch_id))
    with atomic_path(arguments.out) as path:
        contact_sheet(sheet, ["Patch", "Pseudo-label", "Prediction", "Truth"], legend=vocabulary).save(path)


if __name__ == "__main__":
    main()
