"""Which data set a folder holds: each row of `sources.yaml` is tried, and says what it lacks."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.patches.coded import MaskReader, mask_reader
from wsss_mm.patches.finding import find
from wsss_mm.patches.layout import SourceFile
from wsss_mm.sources import SOURCES, Source, unknown_source
from wsss_mm.vocabulary import Vocabulary, get_vocabulary, vocabulary_names


@dataclass(frozen=True)
class Recognised:
    """A folder, as a row of `sources.yaml` reads it.

    Attributes:
        source: the folder.
        definition: the row.
        vocabulary: the classes.
        files: the images.
        reader: how their masks are read.
        said: what was warned of, such as files that are left out.
    """

    source: Path
    definition: Source
    vocabulary: Vocabulary
    files: list[SourceFile]
    reader: MaskReader
    said: tuple[str, ...]


class Unrecognised(InputError):
    """A folder is none of the data sets that are known.

    Attributes:
        tried: lines, of each data set what the folder lacks of it.
    """

    def __init__(self, message: str, tried: Sequence[str]) -> None:
        super().__init__(message)
        self.tried = tuple(tried)


def recognise(source: Path, name: str | None = None, vocabulary: str | None = None) -> list[Recognised]:
    """The data sets that a folder may be: those with names of their own first, and else those of any data set.

    Args:
        source: the folder.
        name: of the data set, where it is known.
        vocabulary: name of the classes, of a data set that has none of its own; None: the first that fits.

    Raises:
        Unrecognised: it is none; says what each of them was looked for by.
        InputError: there is no such folder, data set or vocabulary, or it is not the data set of that name.
    """
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; name that of the data set")
    if name is not None and name not in SOURCES:
        raise InputError(unknown_source(name))
    if vocabulary is not None:
        get_vocabulary(vocabulary)
    wanted = [SOURCES[name]] if name is not None else list(SOURCES.values())
    faults: dict[str, str] = {}
    for own in (True, False):
        found = []
        for definition in (row for row in wanted if (row.vocabulary is not None) == own):
            try:
                found.append(_read(source, definition, vocabulary))
            except InputError as error:
                faults[definition.name] = str(error)
        if found:
            return found
    if name is not None:
        raise InputError(faults[name])
    raise Unrecognised(
        f"{source}: is laid out as no data set of sources.yaml; say which with --as, or describe it there",
        [line for row in wanted for line in (f"{row.name}: {row.about}", f"  {faults[row.name]}")],
    )


def _read(source: Path, definition: Source, vocabulary: str | None) -> Recognised:
    if definition.vocabulary is not None and vocabulary not in (None, definition.vocabulary):
        raise InputError(
            f"{source}: {definition.name} has the classes of {definition.vocabulary!r}, not of {vocabulary!r}; leave "
            "--vocabulary out"
        )
    names = [definition.vocabulary] if definition.vocabulary is not None else [vocabulary] if vocabulary else None
    first: InputError | None = None
    for name in names or vocabulary_names():
        classes = get_vocabulary(name)
        try:
            with _collected() as said:
                files, reader = find(source, definition, classes), mask_reader(definition.masks, classes, source)
        except InputError as error:
            first = first or error
            continue
        return Recognised(source, definition, classes, files, reader, tuple(said))
    assert first is not None  # there is a vocabulary
    raise first


@contextmanager
def _collected() -> Iterator[list[str]]:
    """What is warned of in this block, instead of on stderr."""
    said: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, keeper = logging.getLogger("wsss_mm.patches"), Keeper(logging.WARNING)
    before = logger.propagate
    logger.addHandler(keeper)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(keeper)
        logger.propagate = before
