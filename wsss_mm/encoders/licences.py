"""What the licence of an encoder means for a model that was made from it, as cards and tags say it."""

from collections.abc import Iterator, Mapping
from typing import Any

from wsss_mm.encoders.catalogue import encoders
from wsss_mm.encoders.encoder import Encoder

CODE = "Apache-2.0, as the code, unless the licence of the data says otherwise"
"""The licence of a model that began with nothing of others."""
LICENCE_TAG, PASSED_ON_TAG, COMMERCIAL_TAG = "encoder.licence", "may_be_passed_on", "commercial_use"
"""Tags of a registered version that was made from an encoder's weights."""

_MAIN, _HELD = "initial_weights", "frozen_encoder"  # of model.json: what a training began with, and did not copy
_DEEPEST = 32  # models that began with models


def encoders_of(*infos: Mapping[str, Any]) -> tuple[Encoder, ...]:
    """The encoders whose published weights are in a model, under it, or in what it learnt from.

    They are told by their sha256, or by the name of their file.

    Args:
        infos: Content of model.json: the model's, and that of the classifier its pseudo-labels are of.
    """
    known, found = encoders(), {}
    for said in (item for info in infos for item in _beginnings(info)):
        sha256, file = said.get("sha256"), str(said.get("file", "")).rpartition("/")[2]
        for row in known.values():
            if (sha256 is not None and row.sha256 == sha256) or (row.file is not None and row.file == file):
                found[row.name] = row
    return tuple(found.values())


def _beginnings(info: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    said: Any = info
    for _ in range(_DEEPEST):
        if not isinstance(said, Mapping):
            return
        if isinstance(said.get(_HELD), Mapping):
            yield said[_HELD]
        said = said.get(_MAIN)
        if isinstance(said, Mapping):
            yield said


def licence_lines(*infos: Mapping[str, Any]) -> list[str]:
    """Sentences for a card, one for each encoder; empty where the model began with nothing of others."""
    return [line for encoder in encoders_of(*infos) for line in _lines(encoder)]


def _lines(encoder: Encoder) -> Iterator[str]:
    cited = f"; cite {encoder.citation}" if encoder.citation else ""
    yield f"Made from encoder `{encoder.name}`, whose licence is {encoder.licence}{cited}."
    if encoder.derivatives is False:
        yield (
            "**This model may not be passed on**: that licence allows no derivatives to be shared, so neither its "
            "weights nor what is trained on them leaves who accepted it."
        )
    elif encoder.derivatives is None:
        yield "Whether it may be passed on, that licence says: read it first."
    if encoder.commercial is False:
        yield "**No commercial use.**"
    elif encoder.commercial is None:
        yield "Whether it may be used commercially, that licence says: read it first."


def licence_tags(*infos: Mapping[str, Any]) -> dict[str, str]:
    """Tags of a registered version: the licences, and what they do not allow. Empty as `licence_lines`."""
    found = encoders_of(*infos)
    if not found:
        return {}
    return {
        LICENCE_TAG: "; ".join(f"{encoder.name}: {encoder.licence}" for encoder in found),
        PASSED_ON_TAG: _least(encoder.derivatives for encoder in found),
        COMMERCIAL_TAG: _least(encoder.commercial for encoder in found),
    }


def _least(allowed: Iterator[bool | None]) -> str:
    """`no` where one says no, `unknown` where one says nothing, else `yes`."""
    said = set(allowed)
    return "no" if False in said else "unknown" if None in said else "yes"
