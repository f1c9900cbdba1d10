"""Patches: the manifest, cutting slides into patches, importers of public patch data sets."""

from typing import Any

from wsss_mm.patches.manifest import check_manifest, manifest_columns, read_manifest, write_manifest
from wsss_mm.vocabulary import IGNORE, SPLITS, TissueClass, Vocabulary, get_vocabulary, vocabulary_names

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


def __getattr__(name: str) -> Any:
    if name == "VOCABULARIES":  # those there are, by name; read when asked for
        return {name: get_vocabulary(name) for name in vocabulary_names()}
    raise AttributeError(name)
