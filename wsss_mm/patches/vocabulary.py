"""The tissue classes of each data set: order, codes, names and colours, the same everywhere they are shown."""

from dataclasses import dataclass

IGNORE = 255
"""Value of a mask, pseudo-label or slide map where there is no class: background, or truth that is to be ignored."""

IGNORE_COLOR = (255, 255, 255)


@dataclass(frozen=True)
class TissueClass:
    """A class: `code` names manifest columns and metrics, `name` is for people, `color` is RGB."""

    code: str
    name: str
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a cohort, in the order of label vectors, logits and mask values."""

    name: str
    classes: tuple[TissueClass, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """Class codes in order."""
        return tuple(item.code for item in self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB colours in order."""
        return tuple(item.color for item in self.classes)

    @property
    def palette(self) -> list[int]:
        """768 values for `PIL.Image.putpalette`: the classes from 0, white everywhere else, so also at `IGNORE`."""
        colors = [channel for color in self.colors for channel in color]
        return colors + list(IGNORE_COLOR) * (256 - len(self))


_TUMOUR = (205, 51, 51)
_STROMA = (255, 165, 0)
_LYMPHOCYTES = (65, 105, 225)
_NECROSIS = (0, 200, 80)
_NORMAL = (160, 110, 200)

VOCABULARIES = {
    vocabulary.name: vocabulary
    for vocabulary in (
        Vocabulary(  # LUAD-HistoSeg's order
            "lung",
            (
                TissueClass("TE", "Tumour epithelium", _TUMOUR),
                TissueClass("NEC", "Necrosis", _NECROSIS),
                TissueClass("LYM", "Lymphocytes", _LYMPHOCYTES),
                TissueClass("TAS", "Tumour-associated stroma", _STROMA),
            ),
        ),
        Vocabulary(  # BCSS-WSSS's order
            "breast",
            (
                TissueClass("TUM", "Tumour", _TUMOUR),
                TissueClass("STR", "Stroma", _STROMA),
                TissueClass("LYM", "Lymphocytic infiltrate", _LYMPHOCYTES),
                TissueClass("NEC", "Necrosis", _NECROSIS),
            ),
        ),
        Vocabulary(  # WSSS4LUAD's order
            "luad_normal",
            (
                TissueClass("TUM", "Tumour epithelium", _TUMOUR),
                TissueClass("STR", "Stroma", _STROMA),
                TissueClass("NOR", "Normal", _NORMAL),
            ),
        ),
    )
}
