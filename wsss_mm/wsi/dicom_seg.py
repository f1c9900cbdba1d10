"""The map as DICOM-SEG, in the coordinates of its slide, for archives and viewers of DICOM (extra `dicom`).

Equal maps of equal slides give equal bytes: no time of writing is in the file, and its identifiers come from the slide,
the model and the map.
"""

import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_mm import __version__
from wsss_mm.errors import InputError
from wsss_mm.files import atomic_path
from wsss_mm.slides.dicom import ENDING
from wsss_mm.slides.pyramid import RowMap
from wsss_mm.vocabulary import IGNORE, Vocabulary

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_PIXELS = 1 << 30
"""Of a map: the library that writes it holds all of it."""

_TILE, _BAND = 512, 4096  # px
_WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
_UPRIGHT = [0.0, -1.0, 0.0, -1.0, 0.0, 0.0]  # as slides lie in a scanner: rows run along -y, columns along -x
_SCHEME = "99WSSSMM"  # of codes that are ours, such as those of classes
_DAY, _TIME = "19000101", "000000"
_MAKER = "wsss_mm"
_ROUNDING = 1e-6  # of a resolution, which is text in DICOM


def check_can_write() -> None:
    """Refuse before a slide is segmented what could not be written after it.

    Raises:
        InputError: the extra is not installed.
    """
    if find_spec("highdicom") is None:
        raise InputError("dicom_seg: highdicom is not installed; pip install 'wsss-mm[dicom]', or set it to false")


def write_dicom_seg(
    path: Path,
    labels: RowMap,
    vocabulary: Vocabulary,
    *,
    slide: Path,
    identity: Mapping[str, Any],
    model: str,
) -> None:
    """Write a map as a binary segmentation, a segment for each class, tiles without a class left out.

    Args:
        path: the file.
        labels: rows of class indices, `IGNORE` where there is none.
        vocabulary: of the map.
        slide: the slide's file. Of a DICOM slide patient, study and frame of reference are taken over; of any other
            there is no DICOM image to lie on, and the file names one that nobody has.
        identity: of the slide: its `mpp` and `bounds` at level 0, and `quickhash`; and `mpp` of the map.
        model: digest of the model, or what else tells it.

    Raises:
        InputError: the extra is not installed, or the map is too large.
    """
    check_can_write()
    from highdicom.seg import Segmentation

    height, width = labels.shape
    if height * width > MOST_PIXELS:
        raise InputError(f"{slide}: a map of {width} x {height} px is too large for DICOM-SEG; set dicom_seg to false")
    pixels = np.zeros((1, height, width), np.uint8)
    for top in range(0, height, _BAND):
        band = labels[top : top + _BAND]
        pixels[0, top : top + _BAND] = np.where(band == IGNORE, 0, band + np.uint8(1))
    source = _source(slide, identity["slide"])
    name = hashlib.sha256(pixels.tobytes() + f"{source.SOPInstanceUID} {model}".encode()).hexdigest()
    logging.getLogger("highdicom").setLevel(logging.WARNING)  # it tells of each module that it copies
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names of patients, which belong on no terminal
        written = Segmentation(
            source_images=[source],
            pixel_array=pixels,
            segmentation_type="BINARY",
            segment_descriptions=list(_segments(vocabulary, model)),
            series_instance_uid=_uid(f"series {name}"),
            series_number=1,
            sop_instance_uid=_uid(f"instance {name}"),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=__version__,
            device_serial_number=model[:64] or "unknown",
            content_label="TISSUE",
            content_description="Tissue classes, made without a person",
            omit_empty_frames=bool(pixels.any()),
            tile_pixel_array=True,
            tile_size=(_TILE, _TILE),
            **_place(source, identity),
        )
    _without_now(written, source, name)
    stream = io.BytesIO()
    written.save_as(stream, enforce_file_format=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(stream.getvalue())


def wrong_segments(path: Path, labels: RowMap, vocabulary: Vocabulary, mpp: float) -> str:
    """What a file has otherwise than the map (H, W) it was made of, in words; empty if nothing.

    Rows of the map are taken from top to bottom, and 512 of them are held.

    Raises:
        InputError: the extra is not installed, or the file cannot be read.
    """
    if find_spec("pydicom") is None:
        raise InputError(f"{path}: cannot be looked at without pydicom; pip install 'wsss-mm[dicom]'")
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        said = pydicom.dcmread(path, stop_before_pixels=True)
        found = _said_otherwise(said, labels.shape, vocabulary, mpp)
        wrong = 0 if found else _wrong_pixels(path, said, labels, len(vocabulary))
    except (InvalidDicomError, AttributeError, IndexError, ValueError, EOFError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as a segmentation in DICOM ({why})") from None
    return ", ".join([*found, *([f"{wrong} px"] if wrong else [])])


def _said_otherwise(said: "Dataset", size: tuple[int, ...], vocabulary: Vocabulary, mpp: float) -> list[str]:
    """Size, resolution and classes, where they are not those of the map."""
    spacing = [float(side) * 1000 for side in _measures(said).PixelSpacing]
    classes = [
        (int(item.SegmentNumber), str(item.SegmentLabel), str(item.SegmentedPropertyTypeCodeSequence[0].CodeValue))
        for item in said.SegmentSequence
    ]
    known = [(number, item.name[:64], item.code[:16]) for number, item in enumerate(vocabulary.classes, 1)]
    otherwise = {
        "size": (said.TotalPixelMatrixRows, said.TotalPixelMatrixColumns) != tuple(size),
        "resolution": any(abs(side / mpp - 1) > _ROUNDING for side in spacing),
        "classes": classes != known,
    }
    return [what for what, wrong in otherwise.items() if wrong]


def _wrong_pixels(path: Path, said: "Dataset", labels: RowMap, classes: int) -> int:
    """Pixels of a class in the map or in the file, and not in both."""
    from pydicom.pixels import iter_pixels

    frames: dict[int, list[tuple[int, int, int]]] = {}
    for number, item in enumerate(said.PerFrameFunctionalGroupsSequence):
        place = item.PlanePositionSlideSequence[0]
        segment = int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber) - 1
        top, left = (
            int(side) - 1
            for side in (place.RowPositionInTotalImagePixelMatrix, place.ColumnPositionInTotalImagePixelMatrix)
        )
        frames.setdefault(top, []).append((left, segment, number))
    height, wrong = labels.shape[0], 0
    for top in sorted({*frames, *range(0, height, int(said.Rows))}):
        band, here = labels[top : top + int(said.Rows)], sorted(frames.get(top, ()))
        counts = np.bincount(band.ravel(), minlength=256)[:classes]
        seen = set()
        for (left, segment, _), pixels in zip(here, iter_pixels(path, indices=[item[2] for item in here]), strict=True):
            there = band[:, left : left + int(said.Columns)] == segment
            drawn = np.zeros((int(said.Rows), int(said.Columns)), bool)
            drawn[: there.shape[0], : there.shape[1]] = there
            wrong += int((drawn != (pixels > 0)).sum())
            if (left, segment) in seen:
                wrong += pixels.size
            seen.add((left, segment))
            counts[segment] -= there.sum()
        wrong += int(abs(counts).sum())  # of tiles that are left out
    return wrong


def _without_now(written: "Dataset", source: "Dataset", name: str) -> None:
    """Let the slide's day stand where that of writing does, and what is random come from what is written."""
    day, time = str(source.get("StudyDate") or _DAY), str(source.get("StudyTime") or _TIME)
    for kind in ("InstanceCreation", "Content", "Series"):
        for what, value in (("Date", day), ("Time", time)):
            if f"{kind}{what}" in written:
                setattr(written, f"{kind}{what}", value)
    for item in written.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = f"{day}{time}"
    for item in (*written.get("DimensionOrganizationSequence", ()), *written.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = _uid(f"dimensions {name}")


def _segments(vocabulary: Vocabulary, model: str) -> Iterator[Any]:
    """What each number stands for; the codes are the vocabulary's own, since SNOMED has none for some of them."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    made_by = AlgorithmIdentificationSequence(_MAKER, codes.cid7162.ArtificialIntelligence, model[:64] or __version__)
    for number, item in enumerate(vocabulary.classes, 1):
        yield SegmentDescription(
            segment_number=number,
            segment_label=item.name[:64],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=CodedConcept(item.code[:16], _SCHEME, item.name[:64]),
            algorithm_type="AUTOMATIC",
            algorithm_identification=made_by,
            tracking_uid=_uid(f"class {item.code}"),
            tracking_id=item.code,
            display_color=CIELabColor.from_rgb(*item.color),
        )


def _place(source: "Dataset", identity: Mapping[str, Any]) -> dict[str, Any]:
    """Where the map lies on the glass: its first pixel's centre, how it runs, and how large its pixels are, mm."""
    from highdicom import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence

    slide, mpp = identity["slide"], identity["mpp"]
    origin = source.TotalPixelMatrixOriginSequence[0]
    runs = np.array([float(value) for value in source.ImageOrientationSlide]).reshape(2, 3)
    begin = np.array(
        [
            float(origin.XOffsetInSlideCoordinateSystem),
            float(origin.YOffsetInSlideCoordinateSystem),
            float(origin.get("ZOffsetInSlideCoordinateSystem", 0) or 0),
        ]
    )
    across, down = ((side * slide["mpp"] + (mpp - slide["mpp"]) / 2) / 1000 for side in slide["bounds"][:2])
    spacing = mpp / 1000
    thickness = float(_measures(source).get("SliceThickness", 0.001) or 0.001)
    position = (begin + runs[0] * across + runs[1] * down).round(9).tolist()
    return {
        "pixel_measures": PixelMeasuresSequence((spacing, spacing), thickness),
        "plane_orientation": PlaneOrientationSequence("SLIDE", runs.ravel().tolist()),
        "plane_positions": [PlanePositionSequence("SLIDE", position, (1, 1))],
    }


def _source(slide: Path, said: Mapping[str, Any]) -> "Dataset":
    """What is known of the slide as a DICOM image: its own finest level without pixels, or what can be said of another.

    Any file of a slide may be named; positions are those of the finest.
    """
    import pydicom

    if slide.suffix.lower() != ENDING and not _is_dicom(slide):
        return _stand_in(slide, said)
    named = pydicom.dcmread(slide, stop_before_pixels=True)
    finest = named
    for other in sorted(slide.parent.iterdir()):
        if other.is_file() and _is_dicom(other):
            found = pydicom.dcmread(other, stop_before_pixels=True)
            of_slide = found.get("SeriesInstanceUID") == named.SeriesInstanceUID and "VOLUME" in found.ImageType
            if of_slide and found.TotalPixelMatrixColumns > finest.TotalPixelMatrixColumns:
                finest = found
    return finest


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _measures(source: "Dataset") -> "Dataset":
    return source.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


def _stand_in(slide: Path, said: Mapping[str, Any]) -> "Dataset":
    """A whole-slide image in DICOM as a slide of another format would be one, known by its quickhash."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    key, image = str(said["quickhash"]), Dataset()
    x, y, width, height = said["bounds"]
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = _WSI, _uid(f"slide {key}")
    image.StudyInstanceUID, image.SeriesInstanceUID = _uid(f"study {key}"), _uid(f"images {key}")
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = _uid(f"glass {key}"), "SLIDE_CORNER"
    image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = "", "", "", ""
    image.StudyDate, image.StudyTime, image.StudyID = "", "", ""
    image.AccessionNumber, image.ReferringPhysicianName = "", ""
    image.Modality, image.ImageType = "SM", ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    image.ContainerIdentifier = slide.stem[:64]
    image.Rows = image.Columns = _TILE
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = x + width, y + height
    image.NumberOfFrames = -(-(x + width) // _TILE) * -(-(y + height) // _TILE)
    image.DimensionOrganizationType, image.TotalPixelMatrixFocalPlanes = "TILED_FULL", 1
    image.ImageOrientationSlide = _UPRIGHT
    origin, measures, groups = Dataset(), Dataset(), Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = 0
    measures.PixelSpacing, measures.SliceThickness = [said["mpp"] / 1000] * 2, 0.001
    groups.PixelMeasuresSequence = [measures]
    image.TotalPixelMatrixOriginSequence, image.SharedFunctionalGroupsSequence = [origin], [groups]
    optical = Dataset()
    optical.OpticalPathIdentifier = "0"
    image.OpticalPathSequence, image.NumberOfOpticalPaths = [optical], 1
    return image


def _uid(text: str) -> str:
    """An identifier that is the same for the same text."""
    return f"2.25.{int(hashlib.sha256(f'wsss_mm {text}'.encode()).hexdigest()[:32], 16)}"
