"""Candidates: the patches that can be labelled, as rows of a table. Their pixels stay in the slides."""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from wsss_mm import places
from wsss_mm.cohort import Cohort, Slide
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path, digest
from wsss_mm.formats import read_rows, write_rows
from wsss_mm.names import is_plain_name
from wsss_mm.patches.appearance import image_statistics
from wsss_mm.patches.grid import boxes_of, grid_of
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.truth import read_label_table
from wsss_mm.places import CANDIDATE_COLUMNS, CANDIDATE_TABLE, CANDIDATES_FILE
from wsss_mm.slides.tissue import find_tissue
from wsss_mm.vocabulary import SPLITS

if TYPE_CHECKING:
    from wsss_mm.settings import PatchSettings

logger = logging.getLogger(__name__)

_TYPES = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
_SCHEMA = pa.schema([(name, _TYPES[kind]) for name, kind in CANDIDATE_COLUMNS.items()])
_MEASURED = ("x", "y", "tissue", "focus", "haematoxylin", "eosin")
_PIECE_SCHEMA = pa.schema([_SCHEMA.field(name) for name in _MEASURED])
_PIECE = 1024  # patches that are measured, and remembered, in one go
_MEASURE = 2  # goes up when the same slide is measured otherwise
_MAY_LACK = ("site", "focus", "haematoxylin", "eosin")
_NAMED = 5  # broken slides spelled out in the message


@dataclass(frozen=True)
class FoundCandidates:
    """Candidates, and what could not be read.

    Attributes:
        table: See `read_candidates`.
        failed: A message for each slide that gave none because it is broken.
    """

    table: pd.DataFrame
    failed: Sequence[str]


def raise_broken(failed: Sequence[str]) -> None:
    """Name the slides that could not be read, when all others are done.

    Args:
        failed: a message for each.

    Raises:
        InputError: there are some.
    """
    if failed:
        more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise InputError(
            f"{'; '.join(failed[:_NAMED])}{more}; the other slides are done; mend these, or set them aside: "
            "wsss-mm quarantine add"
        )


def make_candidates(
    cohort: Cohort,
    settings: "PatchSettings",
    *,
    without: Collection[str] = (),
    aside: Collection[str] = (),
    memory: Path | None = None,
) -> pd.DataFrame:
    """Find the candidates as `find_candidates` does; a broken slide stops, when all others have been measured.

    Raises:
        InputError: slides could not be read.
    """
    found = find_candidates(cohort, settings, without=without, aside=aside, memory=memory)
    raise_broken(found.failed)
    return found.table


def find_candidates(
    cohort: Cohort,
    settings: "PatchSettings",
    *,
    without: Collection[str] = (),
    aside: Collection[str] = (),
    memory: Path | None = None,
) -> FoundCandidates:
    """Find the patches that can be labelled: those of the grid with enough tissue, inside the region of interest.

    Slides whose truth or drawings say what every patch of them holds have none. Slides of which some patches are
    labelled have all, and those that are labelled and no patches of the grid, such as patches from other tools, too:
    what looks like them, and what they teach, is asked of candidates.

    Args:
        cohort: the slides.
        settings: resolution, size and least tissue, as slides are cut.
        without: slides to leave out, by slide_id; they are not opened.
        aside: patches to leave out, by patch_id.
        memory: folder that keeps what was measured, by the slide's quickhash, for the next time.

    Returns:
        The table, and what is wrong with slides that could not be read.
    """
    slides = [slide for slide in cohort.with_files(without=without) if not slide.known_whole]
    survey = _Survey(settings, memory, _labelled(cohort))
    grids = dict(zip(slides, map_files(survey.pieces, slides, "find candidates"), strict=True)) if slides else {}
    failed = {slide.slide_id: grid for slide, grid in grids.items() if isinstance(grid, str)}
    pieces = [piece for grid in grids.values() if not isinstance(grid, str) for piece in grid]
    measured = map_files(survey.measured, pieces, "measure candidates") if pieces else []
    of_slides: dict[str, list[pd.DataFrame]] = {}
    for piece, found in zip(pieces, measured, strict=True):
        if isinstance(found, str):
            failed.setdefault(piece.slide.slide_id, found)
        else:
            of_slides.setdefault(piece.slide.slide_id, []).append(found)
    for slide in slides:
        if slide.slide_id not in failed and slide.slide_id not in of_slides:
            logger.warning("%s: no patch has enough tissue to be labelled; look at its roi", slide.slide_id)
    parts = [
        _rows(slide, pd.concat(of_slides[slide.slide_id]), settings)
        for slide in slides
        if slide.slide_id in of_slides and slide.slide_id not in failed
    ]
    return FoundCandidates(_tidy(parts, aside), list(failed.values()))


def read_candidates(folder: Path | str = places.CANDIDATES) -> pd.DataFrame:
    """Read and check `folder`/candidates.parquet.

    Returns:
        One row a patch, sorted by patch_id: patch_id, slide_id, patient_id, site (None where unknown), split, x, y
        (level-0 px), mpp (um/px), size (px), tissue (share, 0..1), focus, haematoxylin and eosin (see
        `wsss_mm.patches.appearance`; NaN where next to nothing is darker than glass).

    Raises:
        InputError: there is no table, or it is wrong.
    """
    path = Path(folder) / CANDIDATES_FILE
    frame = read_rows(path, CANDIDATE_TABLE)
    if fault := _fault(frame):
        raise InputError(f"{path}: damaged: {fault}; {CANDIDATE_TABLE.again}")
    return _with_sites(frame[list(CANDIDATE_COLUMNS)])


def write_candidates(frame: pd.DataFrame, folder: Path | str) -> Path:
    """Write `folder`/candidates.parquet: equal rows give equal bytes.

    Returns:
        The path of the file.
    """
    path = Path(folder) / CANDIDATES_FILE
    with atomic_path(path) as temporary:
        write_rows(temporary, CANDIDATE_TABLE, _table(frame, _SCHEMA))
    return path


@dataclass(frozen=True)
class _Piece:
    """Some patches of a slide: their corners (n, 2) in level-0 px, their tissue (n,), and where they are remembered."""

    slide: Slide
    corners: npt.NDArray[np.int64]
    tissue: npt.NDArray[np.float64]
    memory: Path | None


@dataclass(frozen=True)
class _Survey:
    """Looks at one slide, or one piece of a slide, after the other; what cannot be read is a message."""

    settings: "PatchSettings"
    memory: Path | None
    labelled: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    def pieces(self, slide: Slide) -> list[_Piece] | str:
        """The patches of a slide's grid, and those that are labelled beside it."""
        try:
            folder = None if self.memory is None else self.memory / self._key(slide)
            grid = None if folder is None else _remembered(folder / "grid.parquet")
            if grid is None:
                grid = self._grid(slide)
                _remember(grid, None if folder is None else folder / "grid.parquet")
            corners, tissue = grid[["x", "y"]].to_numpy(np.int64), grid["tissue"].to_numpy(np.float64)
            more = self._beside(slide, corners, folder)
        except (InputError, OSError) as error:
            return _broken(slide, error)
        return more + [
            _Piece(
                slide,
                corners[start : start + _PIECE],
                tissue[start : start + _PIECE],
                None if folder is None else folder / f"{start // _PIECE}.parquet",
            )
            for start in range(0, len(grid), _PIECE)
        ]

    def _beside(self, slide: Slide, grid: npt.NDArray[np.int64], folder: Path | None) -> list[_Piece]:
        """Labelled patches of a slide that are none of its grid; those that leave it are left to stage `patches`."""
        known = set(map(tuple, grid.tolist()))
        places_ = self.labelled.get(slide.slide_id, np.zeros((0, 2), np.int64)).tolist()
        corners = np.array(sorted({(x, y) for x, y in places_} - known), np.int64).reshape(-1, 2)
        if not len(corners):
            return []
        with slide.open() as reader:
            boxes = boxes_of(corners, reader, self.settings)
            inside = (boxes[:, :2] + boxes[:, 2:] <= np.array(reader.size) + 1).all(axis=1)
            found = find_tissue(reader, leave_out_pen=self.settings.leave_out_pen)
            tissue = np.round(found.share(boxes), 6)
        name = hashlib.sha256(corners[inside].tobytes()).hexdigest()[:32]
        memory = None if folder is None else folder / f"labelled-{name}.parquet"
        return [_Piece(slide, corners[inside], tissue[inside], memory)] if inside.any() else []

    def measured(self, piece: _Piece) -> pd.DataFrame | str:
        """What patches look like, in the columns `_MEASURED`."""
        if piece.memory is not None and (known := _remembered(piece.memory)) is not None:
            return known
        try:
            rows = self._look(piece)
            _remember(rows, piece.memory)
        except (InputError, OSError) as error:
            return _broken(piece.slide, error)
        return rows

    def _grid(self, slide: Slide) -> pd.DataFrame:
        with slide.open() as reader:
            found = list(grid_of(slide, reader, self.settings))
        rows = [(x, y, round(share, 6)) for (x, y), share in found]
        return pd.DataFrame(rows, columns=["x", "y", "tissue"]).reindex(columns=list(_MEASURED))

    def _look(self, piece: _Piece) -> pd.DataFrame:
        rows, mpp = [], self.settings.mpp
        of_ink = mpp if self.settings.leave_out_pen else None
        with piece.slide.open() as reader:
            for (x, y), tissue in zip(piece.corners.tolist(), piece.tissue.tolist(), strict=True):
                looks = image_statistics(reader.read(x, y, self.settings.size, mpp), of_ink)
                rows.append((x, y, tissue, *(round(looks[name], 6) for name in _MEASURED[3:])))
        return pd.DataFrame(rows, columns=list(_MEASURED))

    def _key(self, slide: Slide) -> str:
        """What decides the candidates of a slide."""
        quickhash = slide.quickhash
        if not quickhash:
            with slide.open() as reader:
                quickhash = reader.quickhash
        roi = None if slide.roi is None else digest(slide.roi)
        chosen = (self.settings.mpp, self.settings.size, self.settings.min_tissue)
        chosen += () if self.settings.leave_out_pen else ("pen",)  # what was remembered before stays known
        chosen += ("sRGB",) if slide.icc else ()
        said = json.dumps([_MEASURE, _PIECE, quickhash, slide.bytes, slide.mpp, roi, *chosen])
        return hashlib.sha256(said.encode()).hexdigest()[:32]


def _labelled(cohort: Cohort) -> dict[str, npt.NDArray[np.int64]]:
    """Corners (n, 2) of the labelled patches of each slide, level-0 px; what is wrong there, stage `patches` says."""
    if cohort.labels is None:
        return {}
    table = read_label_table(cohort.labels)[["slide_id", "x", "y"]]
    numbers = table[["x", "y"]].apply(pd.to_numeric, errors="coerce").dropna()
    sound = numbers[(numbers >= 0).all(axis=1) & (numbers < 2**31).all(axis=1)].astype(np.int64)
    return {
        str(name): sound.loc[rows.index.intersection(sound.index)].to_numpy()
        for name, rows in table.groupby("slide_id")
    }


def _broken(slide: Slide, error: Exception) -> str:
    said = " ".join(str(error).split())
    logger.error("%s: %s", slide.slide_id, said)
    return f"{slide.slide_id}: {said}"


def _remembered(path: Path) -> pd.DataFrame | None:
    """What was kept of a piece; None where nothing was, or what is there is of no use."""
    if not path.is_file():
        return None
    try:
        rows = read_rows(path, CANDIDATE_TABLE)
    except InputError:
        return None
    return rows if list(rows.columns) == list(_MEASURED) else None


def _remember(rows: pd.DataFrame, path: Path | None) -> None:
    if path is not None:
        with atomic_path(path) as temporary:
            write_rows(temporary, CANDIDATE_TABLE, _table(rows, _PIECE_SCHEMA))


def _rows(slide: Slide, measured: pd.DataFrame, settings: "PatchSettings") -> pd.DataFrame:
    """Rows of the table: what was measured of a slide, with what the cohort says of it."""
    places_ = zip(measured["x"].tolist(), measured["y"].tolist(), strict=True)
    return measured.assign(
        patch_id=[f"{slide.slide_id}-{x}-{y}" for x, y in places_],
        slide_id=slide.slide_id,
        patient_id=slide.patient_id,
        site=slide.site or None,
        split=slide.split,
        mpp=float(settings.mpp),
        size=int(settings.size),
    )


def _tidy(parts: Sequence[pd.DataFrame], aside: Collection[str]) -> pd.DataFrame:
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(CANDIDATE_COLUMNS))
    frame = frame[~frame["patch_id"].isin(list(aside))]
    frame = _table(frame[list(CANDIDATE_COLUMNS)], _SCHEMA).to_pandas()
    return _with_sites(frame.sort_values("patch_id", kind="stable", ignore_index=True))


def _table(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    columns = [pa.array(frame[field.name].to_numpy(), type=field.type, from_pandas=True) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _with_sites(frame: pd.DataFrame) -> pd.DataFrame:
    sites = frame["site"].astype(object)
    return frame.assign(site=sites.where(sites.notna(), None))


def _fault(frame: pd.DataFrame) -> str | None:
    """What is wrong with a table, or None."""
    if missing := [name for name in CANDIDATE_COLUMNS if name not in frame.columns]:
        return f"column {', '.join(missing)} is missing"
    return next(_faults_of_types(frame), None) or next(_faults_of_values(frame), None)


def _faults_of_types(frame: pd.DataFrame) -> Iterator[str]:
    for wanted in _SCHEMA:
        try:
            column = pa.array(frame[wanted.name], from_pandas=True)
        except pa.ArrowException as error:
            yield f"column {wanted.name}: {' '.join(str(error).split())}"
            continue
        if column.type not in (wanted.type, pa.null()) and not (_is_text(column.type) and _is_text(wanted.type)):
            yield f"column {wanted.name} holds {column.type}, not {wanted.type}"
        elif column.null_count and wanted.name not in _MAY_LACK:
            yield f"column {wanted.name} is empty in {column.null_count} rows"


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _faults_of_values(frame: pd.DataFrame) -> Iterator[str]:
    least = {"x": 0, "y": 0, "mpp": np.nextafter(0, 1), "size": 1, "tissue": 0}
    for name, low in least.items():
        wrong = ~frame[name].between(low, 1 if name == "tissue" else np.finfo(float).max)
        if wrong.any():
            yield f"column {name} holds {frame[name][wrong].iloc[0]}"
    if unknown := sorted(set(frame["split"].unique()) - set(SPLITS)):
        yield f"column split holds {unknown[0][:80]!r}"
    if odd := [name for name in frame["slide_id"].unique() if not is_plain_name(name)]:
        yield f"slide_id {odd[0][:80]!r} cannot name a file"
    ids = pa.array(frame["patch_id"], type=pa.string())
    if not _all("less", ids[:-1], ids[1:]):
        yield "its rows are not sorted by patch_id, or one is there twice"
    parts = [pa.array(frame[name]).cast(pa.string()) for name in ("slide_id", "x", "y")]
    if not _all("equal", ids, pc.call_function("binary_join_element_wise", [*parts, "-"])):
        yield "a patch_id does not say where its patch lies"


def _all(compared: str, left: pa.Array, right: pa.Array) -> bool:
    return not len(left) or pc.call_function("min", [pc.call_function(compared, [left, right])]).as_py()
