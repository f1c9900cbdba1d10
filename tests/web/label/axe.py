"""axe-core, which finds what people with other eyes, ears or hands cannot use.

`python -m tests.web.label.axe` fetches it.
"""

from wsss_mm.npm import NpmPackage

AXE = NpmPackage(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    setup="python -m tests.web.label.axe",
)


def source() -> str:
    """The script itself."""
    return AXE.read(AXE.archive)["package/axe.min.js"].decode("utf-8")


if __name__ == "__main__":
    AXE.fetch(AXE.archive)
