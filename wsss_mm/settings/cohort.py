"""Section `cohort` of params.yaml: where slides or labelled patches come from."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from wsss_mm.places import (
    CLASSIFIER,
    CODE_OF_PHANTOM,
    COHORT,
    MAPS,
    PATCHES,
    PSEUDO_LABELS,
    REPORTS,
    RESULTS,
    SEGMENTER,
)
from wsss_mm.settings.sections import Count, Faults, Natural, Section
from wsss_mm.sources import SOURCES
from wsss_mm.sources import unknown_source as absent_source
from wsss_mm.vocabulary import Split, get_vocabulary, unknown_vocabulary, vocabulary_names

CUT = ("phantom", "slides")
"""Cohorts of slides; the others are data sets of patches."""

_PHANTOM = (Path("wsss_mm/slides/phantom"), CODE_OF_PHANTOM)  # the generator's own code, which DVC watches
_WANTED = {"train": "learnt from", "test": "judged on"}
_MADE = (COHORT, PATCHES, PSEUDO_LABELS, MAPS, CLASSIFIER, SEGMENTER, REPORTS, RESULTS)  # by stages


class PhantomSettings(Section):
    """The generated cohort (see `wsss_mm.slides.phantom`)."""

    slides: dict[Split, Count]
    size: Annotated[Natural, Field(ge=1024, le=2**16)]  # px at 0.5 mpp, width and height of a slide


def _known_vocabulary(name: str) -> str:
    if name not in vocabulary_names():
        raise ValueError(unknown_vocabulary(name))
    get_vocabulary(name)  # names the line of what is wrong in it
    return name


def _known_cohort(name: str) -> str:
    if name not in (*CUT, *SOURCES):  # which names the line of what is wrong in the file
        raise ValueError(absent_source(name))
    return name


def _named(path: Path) -> Path:
    """A file or folder that DVC watches."""
    if path == Path() or not path.name.strip() or not str(path).isprintable():
        raise ValueError("names no file or folder; give the path of one")
    return path


WatchedPath = Annotated[Path, AfterValidator(_named)]


def _from_root(path: Path) -> Path:
    return Path(os.path.normpath(Path.cwd() / path))  # links keep their names


def _of_the_line(path: Path) -> str | None:
    """What to say of a path to the user's own data, which DVC reads, where stages write what they make."""
    own, folders = _from_root(path), {folder: _from_root(folder) for folder in _MADE}
    if (made := next((name for name, folder in folders.items() if own.is_relative_to(folder)), None)) is not None:
        return f"{path} is made by the line, which replaces it; name your own, outside of {made}"
    if (made := next((name for name, folder in folders.items() if folder.is_relative_to(own)), None)) is not None:
        return f"{path} holds {made}, which the line makes, so that DVC is never done; name your own data alone"
    return None


class CohortSettings(Section):
    """Where slides or labelled patches come from."""

    name: Annotated[str, AfterValidator(_known_cohort)]  # phantom, slides, or a row of sources.yaml
    source: WatchedPath  # folder of patches, table of slides, or the generator's own code
    labels: Annotated[Path, AfterValidator(_named)]  # table of labelled patches; it may hold none
    vocabulary: Annotated[str, AfterValidator(_known_vocabulary)]  # name of a file in vocabularies/
    phantom: PhantomSettings

    def disagreements(self) -> Faults:
        """The source of another cohort; splits that later stages ask for."""
        for split, why in _WANTED.items():
            if self.name == "phantom" and split not in self.phantom.slides:
                yield "phantom.slides", f"has no {split}: such slides are {why}; give their number"
        for key in ("source", "labels"):
            if (says := _of_the_line(getattr(self, key))) is not None:
                yield key, says
        ends = any(self.source.parts[-len(code.parts) :] == code.parts for code in _PHANTOM)
        if self.name == "phantom" and not ends:
            yield (
                "source",
                f"{self.source} is read by no cohort that is generated; set cohort.name to what it holds, or this to "
                f"{_PHANTOM[0].as_posix()}",
            )
        if self.name != "phantom" and ends:
            yield "source", f"is the code of the phantom, but cohort.name is {self.name}; give where that one lies"
