"""Settings against what they name: data sets, files and this machine; asked before a stage runs, and by doctor."""

import logging
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from wsss_mm import __version__, places
from wsss_mm.dvc_files import dvc_file
from wsss_mm.encoders import Encoder, check_bytes, check_sha256, find_file, get_encoder
from wsss_mm.errors import InputError
from wsss_mm.places import PRETRAINED, PUBLISHED
from wsss_mm.project.shipped import changed_code
from wsss_mm.settings import PARAMS_FILE, Params, refuse

logger = logging.getLogger(__name__)

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
    check_code(root)
    faults = (*_data_set(params), *_weights(params, root), *_precision(params, root), *_libraries(params))
    refuse(faults, root / PARAMS_FILE)
    if not (root / places.PATCHES).exists():  # patches that are there have their mpp; a training says the same of it
        _tell_of_resolution(params, root)


def check_code(root: Path) -> None:
    """See that a project of `wsss-mm init` rests on the code that is installed: DVC would pass over stages otherwise.

    Raises:
        InputError: it rests on that of another version.
    """
    if (name := changed_code(root)) is not None:
        raise InputError(
            f"{places.STAGE_CODE}: {name} of the installed wsss_mm {__version__} is another; bring the project up to "
            "date: wsss-mm update"
        )


def _tell_of_resolution(params: Params, root: Path) -> None:
    """Warn, once an encoder, where the patches will be far from what its weights were trained on."""
    named: dict[str, list[str]] = {}
    for section in ("classifier", "segmenter"):
        if section in _to_come(root) and getattr(params, section).begins_with():
            named.setdefault(getattr(params, section).encoder, []).append(f"{section}.encoder")
    for encoder, keys in named.items():
        if (note := get_encoder(encoder).mpp_note(params.patches.mpp)) is not None:
            logger.warning("%s: patches.mpp: %s (%s)", root / PARAMS_FILE, note, " and ".join(keys))


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
    """Weights to start from that are not there, or others. Those that nothing starts from, too: DVC watches them."""
    for section in ("classifier", "segmenter"):
        weights, encoder = getattr(params, section).weights, get_encoder(getattr(params, section).encoder)
        if weights is None or section not in _to_come(root):
            continue
        if weights.name in (PUBLISHED, encoder.file):
            yield from _published(f"{section}.weights", encoder, root, named=weights.name != PUBLISHED)
        if (root / PRETRAINED / weights).is_file():
            continue
        tracked = dvc_file(PRETRAINED / weights)
        get = f"dvc pull {tracked}" if (root / tracked).is_file() else "get the file (docs/paper-scale.md)"
        unused = section == "segmenter" and params.segmenter.init != "weights"
        instead = f", or set weights: null, as init is {params.segmenter.init}" if unused else ""
        yield f"{section}.weights", f"{PRETRAINED / weights}: not found; {get}{instead}"


def _published(key: str, encoder: Encoder, root: Path, *, named: bool) -> Faults:
    """An encoder's own file that is not here, or another one under its name."""
    path = root / PRETRAINED / str(encoder.file)
    try:
        if not named:
            path = find_file(encoder, root)
        if path.is_file():
            check_bytes(path, encoder)
            check_sha256(path, encoder.sha256)
    except InputError as error:
        yield key, str(error).replace(f"{root}/", "") if root != Path() else str(error)


def _libraries(params: Params) -> Faults:
    """Files that are asked for and that no library here writes."""
    if params.slides.dicom_seg and find_spec("highdicom") is None:
        yield "slides.dicom_seg", "highdicom is not installed; pip install 'wsss-mm[dicom]', or set it to false"


def _precision(params: Params, root: Path) -> Faults:
    """fp16 without a GPU."""
    asked = [f"{section}.precision" for section in _to_come(root) if getattr(params, section).precision == "fp16"]
    if asked:
        from wsss_mm.inference.runtime import choose_device, is_gpu

        if not is_gpu(choose_device()):
            yield from ((key, "fp16 needs a GPU; on a CPU, set bf16 or fp32") for key in asked)
