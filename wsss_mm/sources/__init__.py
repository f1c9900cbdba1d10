"""The data sets of labelled patches and regions: how each is laid out, as plain data of `sources.yaml`."""

from wsss_mm.sources.catalogue import SOURCES, read_sources, unknown_source
from wsss_mm.sources.source import (
    ANY_NAME,
    LAYOUTS,
    UNKNOWN,
    LabelsTable,
    Masks,
    Origin,
    Source,
    label_of,
    of_barcode,
    origin_of,
    without_label,
)

__all__ = [
    "ANY_NAME",
    "LAYOUTS",
    "SOURCES",
    "UNKNOWN",
    "LabelsTable",
    "Masks",
    "Origin",
    "Source",
    "label_of",
    "of_barcode",
    "origin_of",
    "read_sources",
    "unknown_source",
    "without_label",
]
