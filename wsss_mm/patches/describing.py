"""What a data set's folder holds, in words, before anything is made of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from wsss_mm.errors import InputError
from wsss_mm.patches.finding import patients_in_common, site_of
from wsss_mm.patches.images import image_size
from wsss_mm.patches.layout import SourceFile
from wsss_mm.patches.parallel import map_files
from wsss_mm.patches.recognising import Recognised
from wsss_mm.vocabulary import IGNORE, SPLITS

_SIZES, _MASKS = 2000, 200  # images whose size is read, masks whose pixels are counted; spread over all
_LARGEST = 512  # px of a side: larger ones are regions, where they may be cut
_NAMED = 5  # faults of a kind
_SHOWN = 12  # label sets of a split
Item = TypeVar("Item")
Result = TypeVar("Result")


def describe(found: Recognised, mpp: float | None = None) -> list[str]:
    """Lines that say which data set it is, what of it there is, and what is wrong or missing.

    Args:
        found: the folder.
        mpp: um/px, where somebody gave it.
    """
    lines = [
        f"{found.source}: {found.definition.name}, {found.definition.about}",
        f"classes, in the order of labels and masks (vocabulary {found.vocabulary.name}): "
        + ", ".join(f"{index} {item.code} {item.name}" for index, item in enumerate(found.vocabulary.classes)),
        _resolution(found, mpp),
        *_splits(found),
        *_label_sets(found),
        *_sizes(found),
        *_masks(found),
        *_few(found.said),
        *_missing(found),
    ]
    return [line for line in lines if line]


def usual_size(found: Recognised) -> int:
    """Side of its patches, px: as published, or that of the most images, if they are square, or else 224.

    Where images may be cut, those of more than 512 px are taken for regions.
    """
    if found.definition.size is not None:
        return found.definition.size
    sizes, _ = _looked_at(image_size, [file.image for file in _spread(found.files, _SIZES)], "sizes")
    side, count = Counter(width for width, height in sizes if width == height).most_common(1)[0] if sizes else (224, 0)
    most = _LARGEST if found.definition.regions == "all" else side
    return side if side <= most and 2 * count > len(sizes) else 224


def _resolution(found: Recognised, mpp: float | None) -> str:
    mpp, size = found.definition.mpp if mpp is None else mpp, found.definition.size
    resolution = f"{mpp:g} um/px" if mpp is not None else "nothing says its um/px: give --mpp"
    return resolution + (f", patches of {size} px" if size is not None else "")


def _splits(found: Recognised) -> list[str]:
    lines = []
    for split in SPLITS:
        files = [file for file in found.files if file.split == split]
        if not files:
            continue
        origins = [file.origin for file in files if file.origin is not None]
        slides, patients = len({of.slide_id for of in origins}), len({of.patient_id for of in origins})
        masks = sum(file.mask is not None or file.areas is not None for file in files)
        sites = Counter(filter(None, map(site_of, files)))
        at = f"; sites {', '.join(f'{name} {count}' for name, count in sorted(sites.items()))}" if sites else ""
        lines.append(
            f"{split}: {_count(len(files), 'image')} of {_count(slides, 'slide')} and {_count(patients, 'patient')}, "
            f"{masks} with a mask{at}"
        )
    return lines


def _label_sets(found: Recognised) -> list[str]:
    codes, lines = found.vocabulary.codes, []
    for split in SPLITS:
        held = [file.labels for file in found.files if file.split == split and file.labels is not None]
        if not held:
            continue
        sets = Counter(
            ";".join(code for code, there in zip(codes, row, strict=True) if there) or "none" for row in held
        )
        shown = ", ".join(f"{name} {count}" for name, count in sets.most_common(_SHOWN))
        more = f", and {len(sets) - _SHOWN} more" if len(sets) > _SHOWN else ""
        lines.append(f"label sets of {split}: {shown}{more}")
    if not lines:
        lines.append("label sets: those of the masks")
    return lines


def _sizes(found: Recognised) -> list[str]:
    files = _spread(found.files, _SIZES)
    sizes, faults = _looked_at(image_size, [file.image for file in files], "sizes")
    if not sizes:
        return _few(faults)
    counts = Counter(sizes)
    of = f" (of {len(files)} of them)" if len(files) < len(found.files) else ""
    if len(counts) == 1:
        text = f"{sizes[0][0]} x {sizes[0][1]} px"
    else:
        (width, height), count = counts.most_common(1)[0]
        low, high = np.min(sizes, axis=0), np.max(sizes, axis=0)
        text = (
            f"{low[0]} x {low[1]} to {high[0]} x {high[1]} px, {len(counts)} sizes, most often {width} x {height} "
            f"({count})"
        )
    return [f"images{of}: {text}", *_few(faults)]


def _masks(found: Recognised) -> list[str]:
    with_mask = [file for file in found.files if file.mask is not None or file.areas is not None]
    if not with_mask:
        return []
    files = _spread(with_mask, _MASKS)
    seen, faults = _looked_at(lambda file: _of_mask(found, file), files, "masks")
    off = [text for text, _ in seen if text]
    shares: dict[str, float] = {}
    for _, row in seen:
        for name, share in row.items():
            shares[name] = shares.get(name, 0.0) + share / len(seen)
    text = ", ".join(f"{name} {100 * share:.1f} %" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
    of = f"{len(files)} of {len(with_mask)}" if len(files) < len(with_mask) else str(len(with_mask))
    return [f"pixels of {of} masks: {text}" if seen else "", *_few(off), *_few(faults)]


def _of_mask(found: Recognised, file: SourceFile) -> tuple[str, dict[str, float]]:
    """What is wrong with a mask's size, and the shares of its values or classes."""
    size = image_size(file.image)
    if file.areas is not None:
        mask, path = file.areas.mask(), file.areas.path
        codes = {**dict(enumerate(found.vocabulary.codes)), IGNORE: "not drawn on"}
        values, counts = np.unique(mask, return_counts=True)
        shares = {codes[int(value)]: count / mask.size for value, count in zip(values, counts, strict=True)}
        other = file.areas.size
    else:
        assert file.mask is not None
        path, shares, other = file.mask, found.reader.shares(file.mask), image_size(file.mask)
        found.reader.read(file.mask, file.instance)  # says what no table names
        if found.reader.instances:
            shares = _objects(found, shares, file.instance)
    if other == size:
        return "", shares
    return f"{path}: {other[0]} x {other[1]} px, but its image {file.image.name} has {size[0]} x {size[1]} px", shares


def _objects(found: Recognised, shares: dict[str, float], instance: int | None) -> dict[str, float]:
    """Shares of masks that number objects, by the class of these."""
    codes, counted = found.vocabulary.codes, dict.fromkeys(shares, 0.0)
    for name, share in shares.items():
        called = name if name in codes or instance is None else codes[instance]
        counted[called] = counted.get(called, 0.0) + share
    return {name: share for name, share in counted.items() if share}


def _missing(found: Recognised) -> list[str]:
    files, lines = found.files, []
    there = {file.split for file in files}
    if "test" not in there:
        lines.append(
            "no test split: nothing is judged at the end; splits: {test: 0.2} in sources.yaml holds out patients"
        )
    if "valid" not in there:
        lines.append("no valid split: patients of train are held out (patches.valid_share)")
    if not any(file.mask is not None or file.areas is not None for file in files):
        lines.append("no masks: label sets are learnt and judged, pixels are not judged")
    slides = {file.origin.slide_id for file in files if file.origin is not None}
    if len(slides) == len(files) and all(file.labels is not None for file in files):
        lines.append(
            "nothing tells which images are of one slide: each counts as one, and tissue of one may be in two splits"
        )
    if common := patients_in_common(files):
        lines.append(f"{_count(len(common), 'patient')} in two splits, such as {common[0]}: this is refused")
    return lines


def _looked_at(look: Callable[[Item], Result], items: Sequence[Item], what: str) -> tuple[list[Result], list[str]]:
    """What is found in each of the items, and what is wrong with those that cannot be read."""

    def one(item: Item) -> tuple[list[Result], str]:
        try:
            return [look(item)], ""
        except InputError as error:
            return [], str(error)

    seen = map_files(one, items, what)
    return [result for results, _ in seen for result in results], [fault for _, fault in seen if fault]


def _spread(files: Sequence[SourceFile], most: int) -> list[SourceFile]:
    """Files that lie evenly among all."""
    if len(files) <= most:
        return list(files)
    return [files[place] for place in np.linspace(0, len(files) - 1, most).astype(int).tolist()]


def _few(faults: Sequence[str]) -> list[str]:
    more = [f"... and {len(faults) - _NAMED} more of this kind"] if len(faults) > _NAMED else []
    return [*faults[:_NAMED], *more]


def _count(number: int, what: str) -> str:
    return f"{number} {what if number == 1 else f'{what}s'}"
