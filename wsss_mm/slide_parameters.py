"""How a slide is segmented: each parameter with its default, range and meaning, from params.yaml to the engine.

The only home of these facts: section `slides` of params.yaml and the options of `wsss-mm segment` are read into
`Parameters`, and functions take it whole. Light to import: the command line shows these defaults before anything is
computed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from operator import ge, le, lt
from typing import Any, Literal, get_args, get_origin, get_type_hints

from wsss_mm.encoders import STRIDE, hardly_moves

Weighting = Literal["uniform", "gaussian", "linear"]
WEIGHTINGS: tuple[str, ...] = get_args(Weighting)

GeoJson = Literal["plain", "gz"]
"""How the outlines are written: as text, or compressed."""

Decides = Literal["map", "export", "pace"]
"""What a parameter decides: what the network sees of a slide, what is made of that, or how fast it goes alone."""


@dataclass(frozen=True)
class Setting:
    """What is known of a parameter beside its type and default.

    Attributes:
        decides: see `Decides`; what decides the map is a parameter of stage segment_slides, of the export one of
            export_slides, and what decides the pace alone is none of either, nor is it written into a summary.
        help: what it is, in a line.
        least: the smallest value.
        most: the largest value.
        below: what all values are smaller than.
        carried: whether a model carries the value it was validated with.
        quiet: whether a summary names it only where it is not the default, which writes what there was before it.
    """

    decides: Decides
    help: str
    least: float | None = None
    most: float | None = None
    below: float | None = None
    carried: bool = False
    quiet: bool = False


def _known(decides: Decides, text: str, **more: Any) -> dict[str, Setting]:
    return {"setting": Setting(decides, text, **more)}


@dataclass(frozen=True)
class Parameters:
    """How a slide is segmented; what decides the result is part of its summary.

    Attributes:
        window: side of the sliding window, px at the model's mpp.
        overlap: of neighbouring windows, share of their side, 0 <= overlap < 1.
        weighting: how the pixels of a window count in the average, see `wsss_mm.wsi.stitch.window_profile`.
        background_grey: slide pixels whose grey value exceeds it are background.
        tissue_mask: look for tissue on a thumbnail first, and pass over what is glass there.
        leave_out_pen: whether pen on the glass is background, see `wsss_mm.slides.pen`; tissue that shows under it is
            not.
        leave_out_folds: whether folds of the tissue are, see `wsss_mm.slides.artefacts`.
        leave_out_blur: whether tissue out of focus is.
        min_hole: um2, smaller holes of background in the tissue are tissue of the class that the network sees there. A
            hole as large as a window stays, whatever the number.
        min_island: um2, smaller regions stay in the map but not in the GeoJSON.
        simplify_um: um, how far an outline may move off its region's border to have fewer points; with 0 outlines run
            along pixel edges.
        geojson: whether the GeoJSON is compressed, see `wsss_mm.places.OUTLINES_GZ`.
        geoparquet: whether the polygons are written as GeoParquet, too.
        ome_zarr: whether the map is written as OME-Zarr, too.
        dicom_seg: whether it is written as DICOM-SEG, too, see `wsss_mm.wsi.dicom_seg`.
        probabilities: whether the probabilities of the classes are written too.
        confidence: whether it is written how sure the network is of each pixel, see `wsss_mm.wsi.certainty`.
        unsure_below: pixels of less confidence, 0..1, have no class in the map; `off` for none. It takes `confidence`.
        batch_size: windows a forward pass, or as many as fit into memory. On a CPU the result does not depend on it,
            on a GPU only within the network's rounding.
        readers: threads that read the slide ahead of the network; with 0 nothing runs ahead.
    """

    window: int = field(
        default=224, metadata=_known("map", "side of the sliding window, px", least=32, most=4096, carried=True)
    )
    overlap: float = field(
        default=0.5,
        metadata=_known("map", "of neighbouring windows, share of their side", least=0, below=1, carried=True),
    )
    weighting: Weighting = field(
        default="linear",
        metadata=_known(
            "map",
            "of a window's pixels in the average; uniform, as published, leaves the window grid in the map",
            carried=True,
        ),
    )
    background_grey: int = field(
        default=210,
        metadata=_known("map", "brighter slide pixels are background", least=0, most=255, carried=True),
    )
    tissue_mask: bool = field(
        default=True, metadata=_known("map", "pass over what is glass on a thumbnail", carried=True)
    )
    leave_out_pen: bool = field(default=True, metadata=_known("map", "pen on the glass is background"))
    leave_out_folds: bool = field(default=False, metadata=_known("map", "folds of the tissue are background"))
    leave_out_blur: bool = field(default=False, metadata=_known("map", "tissue out of focus is background"))
    min_hole: float = field(
        default=200.0,
        metadata=_known(
            "export",
            "um2, smaller holes of background in the tissue are filled with what the network sees there",
            least=0,
            carried=True,
        ),
    )
    min_island: float = field(
        default=500.0, metadata=_known("export", "um2, smaller regions stay out of the GeoJSON", least=0)
    )
    simplify_um: float = field(
        default=0.0,
        metadata=_known(
            "export",
            "um, how far outlines may move off their regions to have fewer points; 0: they run along pixel edges",
            least=0,
            most=100,
            quiet=True,
        ),
    )
    geojson: GeoJson = field(
        default="plain", metadata=_known("export", "gz: segmentation.geojson.gz, which QuPath opens", quiet=True)
    )
    geoparquet: bool = field(
        default=False, metadata=_known("export", "write the polygons as GeoParquet too", quiet=True)
    )
    ome_zarr: bool = field(default=False, metadata=_known("export", "write the map as OME-Zarr 0.5 too", quiet=True))
    dicom_seg: bool = field(
        default=False, metadata=_known("export", "write the map as DICOM-SEG too; needs wsss-mm[dicom]", quiet=True)
    )
    probabilities: bool = field(default=False, metadata=_known("map", "write those of the classes too, uint8 channels"))
    confidence: bool = field(
        default=False, metadata=_known("map", "write how sure the network is of each pixel, uint8")
    )
    unsure_below: float | Literal["off"] = field(
        default="off",
        metadata=_known("export", "pixels of less confidence have no class in the map", least=0, most=1),
    )
    batch_size: int | Literal["auto"] = field(
        default="auto", metadata=_known("pace", "windows a forward pass; auto: what fits into memory", least=1)
    )
    readers: int = field(
        default=2, metadata=_known("pace", "threads that read ahead of the network", least=0, most=1024)
    )

    @classmethod
    def of(cls, settings: Any) -> "Parameters":
        """Those that an object has as attributes, such as section `slides` of params.yaml or a command line."""
        return cls(**{item.name: getattr(settings, item.name) for item in fields(cls)})

    def deciding(self, *decides: Decides) -> dict[str, Any]:
        """Values by name, of those that decide one of these."""
        return {name: value for name, value in asdict(self).items() if SETTINGS[name].decides in decides}

    def recorded(self) -> dict[str, Any]:
        """Values by name, of all that the result depends on; what is quiet only where it is not the default."""
        values = self.deciding("map", "export")
        return {name: value for name, value in values.items() if not SETTINGS[name].quiet or value != EARLIER[name]}

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of `wsss_mm.slides.artefacts.CAUSES` is background."""
        given = {"pen": self.leave_out_pen, "folds": self.leave_out_folds, "blur": self.leave_out_blur}
        return tuple(cause for cause, wanted in given.items() if wanted)

    def carried(self) -> dict[str, Any]:
        """Values by name, of those that a model carries."""
        return {name: value for name, value in asdict(self).items() if SETTINGS[name].carried}


EARLIER: Mapping[str, Any] = {
    "confidence": False,
    "unsure_below": "off",
    "leave_out_pen": False,
    "leave_out_folds": False,
    "leave_out_blur": False,
    "simplify_um": 0.0,
    "geojson": "plain",
    "geoparquet": False,
    "ome_zarr": False,
    "dicom_seg": False,
}
"""What held before there were these parameters: of files that do not name them."""


def as_recorded(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of parameters, with those that are wanted and that it is too old to name."""
    return {name: EARLIER[name] for name in wanted if name in EARLIER} | dict(found)


def in_full(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a summary says of parameters, with the quiet ones that it does not name."""
    return {name: EARLIER[name] for name, setting in SETTINGS.items() if setting.quiet} | dict(found)


DEFAULTS = Parameters()
"""What holds where nobody says otherwise."""

SETTINGS: Mapping[str, Setting] = {item.name: item.metadata["setting"] for item in fields(Parameters)}
"""What is known of each parameter."""

TYPES: Mapping[str, Any] = get_type_hints(Parameters)
"""Type of each parameter."""


def faults(values: Mapping[str, Any], stride: int | None = STRIDE) -> Iterator[tuple[str, str]]:
    """Name and fault of each value that is none its parameter can have, such as `must be at least 32`.

    Of window and overlap that are both given, also whether windows move; and whether there is the confidence that
    `unsure_below` asks for.

    Args:
        values: by the names of parameters; not all need be given.
        stride: of the network's features, px, which windows must move by where window and overlap are both given; None
            where nobody knows the network yet.
    """
    wrong = set()
    for name, value in values.items():
        if name not in SETTINGS:
            yield name, "is no parameter"
        elif (fault := _fault(SETTINGS[name], TYPES[name], value)) is not None:
            wrong.add(name)
            yield name, fault
    both = {"window", "overlap"} <= values.keys() - wrong
    if both and stride and (fault := hardly_moves(values["window"], values["overlap"], stride)) is not None:
        yield "overlap", fault
    if values.get("unsure_below", "off") != "off" and not values.get("confidence", True):
        yield "unsure_below", "asks for the confidence of each pixel; set confidence to true, or this to off"


def _fault(setting: Setting, kind: Any, value: Any) -> str | None:
    words, number = choices_of(kind), number_of(kind)
    if isinstance(value, str) and value in words:
        return None
    if kind is bool:
        return None if isinstance(value, bool) else "must be true or false"
    if number is None:
        return f"must be one of {', '.join(words)}"
    if isinstance(value, bool) or not isinstance(value, int if number is int else int | float):
        return " or ".join(("must be a whole number" if number is int else "must be a number", *words))
    ends = [(setting.least, "at least", ge), (setting.most, "at most", le), (setting.below, "below", lt)]
    ends = [(end, says, holds) for end, says, holds in ends if end is not None]
    if isfinite(value) and all(holds(value, end) for end, _, holds in ends):
        return None
    return "must be " + " and ".join(f"{says} {end:g}" for end, says, _ in ends)


def choices_of(kind: Any) -> tuple[str, ...]:
    """Words that a type has, alone or beside numbers."""
    parts = (kind, *get_args(kind))
    return tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))


def number_of(kind: Any) -> type | None:
    """`int` or `float` if a type has numbers, alone or beside words."""
    return next((part for part in (kind, *get_args(kind)) if part in (int, float)), None)
