"""Settings against what they name: data sets, files and this machine; asked before a stage runs, and by doctor."""

from collections.abc import Iterator
from pathlib import Path

from wsss_mm import places
from wsss_mm.dvc_files import dvc_file
from wsss_mm.places import PRETRAINED
from wsss_mm.settings import PARAMS_FILE, Params, refuse

Faults = Iterator[tuple[str, str]]

_RESULTS = {
    "classifier": places.CLASSIFIER / places.WEIGHTS,
    "segmenter": places.SEGMENTER / places.WEIGHTS,
    "slides": places.RESULTS / places.SLIDES_TABLE,
}
"""What the work that a section is of leaves behind."""


def check(params: Params, root: Path) -> None:
    """See that settings can be worked with here, and not only hours from now.

    What a later stage needs is asked for until its result is there: who has the models of others needs no GPU.

    Raises:
        InputError: they cannot; the message gives the line of each that is wrong.
    """
    refuse((*_data_set(params), *_weights(params, root), *_precision(params, root)), root / PARAMS_FILE)


def _data_set(params: Params) -> Faults:
    """Classes that are none, or classes and resolution of another data set than the one that is named."""
    from wsss_mm.patches.importers import misfits
    from wsss_mm.sources import SOURCES
    from wsss_mm.vocabulary import get_vocabulary

    vocabulary = get_vocabulary(params.cohort.vocabulary)
    if params.cohort.name in SOURCES:
        yield from misfits(params.cohort.name, params.patches, vocabulary)


def _to_come(root: Path) -> list[str]:
    """The sections whose work is still to be done."""
    return [section for section, result in _RESULTS.items() if not (root / result).is_file()]


def _weights(params: Params, root: Path) -> Faults:
    """Weights to start from that are not there. Those that nothing starts from, too: DVC watches them."""
    for section in ("classifier", "segmenter"):
        weights = getattr(params, section).weights
        if weights is None or section not in _to_come(root) or (root / PRETRAINED / weights).is_file():
            continue
        tracked = dvc_file(PRETRAINED / weights)
        get = f"dvc pull {tracked}" if (root / tracked).is_file() else "get the file (docs/paper-scale.md)"
        unused = section == "segmenter" and params.segmenter.init != "weights"
        instead = f", or set weights: null, as init is {params.segmenter.init}" if unused else ""
        yield f"{section}.weights", f"{PRETRAINED / weights}: not found; {get}{instead}"


def _precision(params: Params, root: Path) -> Faults:
    """fp16 without a GPU."""
    asked = [f"{section}.precision" for section in _to_come(root) if getattr(params, section).precision == "fp16"]
    if asked:
        from wsss_mm.inference.runtime import choose_device, is_gpu

        if not is_gpu(choose_device()):
            yield from ((key, "fp16 needs a GPU; on a CPU, set bf16 or fp32") for key in asked)
