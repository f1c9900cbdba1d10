"""Put the files of a lab's project, which lie in the root of this one, into the package that is built."""

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
LIST = ROOT / "wsss_mm/project/files.txt"


class BuildWithProject(build_py):
    """Also copies what `files.txt` lists into wsss_mm/project/files; a checkout has its own files instead."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            for name in listed():
                target = Path(self.build_lib) / "wsss_mm/project/files" / name
                self.mkpath(str(target.parent))
                self.copy_file(str(ROOT / name), str(target))

    def get_source_files(self) -> list[str]:
        """What an archive of the sources holds, so that a wheel can be built of it."""
        return [*super().get_source_files(), *listed()]


def listed() -> Iterator[str]:
    """Paths of the files, posix."""
    for pattern in LIST.read_text(encoding="utf-8").splitlines():
        if pattern and not pattern.startswith("#"):
            yield from sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))


setup(cmdclass={"build_py": BuildWithProject})
