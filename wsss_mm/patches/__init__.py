"""Patches: label vocabularies, the manifest, cutting slides into patches, importers of public patch data sets."""

from wsss_mm.patches.manifest import (
    SPLITS,
    check_manifest,
    get_vocabulary,
    manifest_columns,
    read_manifest,
    write_manifest,
)
from wsss_mm.patches.vocabulary import IGNORE, VOCABULARIES, TissueClass, Vocabulary

__all__ = [
    "IGNORE",
    "SPLITS",
    "VOCABULARIES",
    "TissueClass",
    "Vocabulary",
    "check_manifest",
    "get_vocabulary",
    "manifest_columns",
    "read_manifest",
    "write_manifest",
]
