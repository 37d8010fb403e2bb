"""Packaging for pip; `debian/` builds the Debian package from it. The version stands in pvsim/__init__.py."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent


def version() -> str:
    # Read, not imported: the package's own dependencies need not be there while it is built.
    match = re.search(r'^__version__ = "([^"]+)"$', (HERE / "pvsim/__init__.py").read_text("utf-8"), re.MULTILINE)
    if match is None:
        raise SystemExit('pvsim/__init__.py: no line __version__ = "..."')
    return match[1]


class WholeSource(sdist):
    """A source archive that holds what is needed to test the program, and to make its Debian package."""

    def make_distribution(self) -> None:
        found = [path for top in ("debian", "etc", "systemd", "tests") for path in Path(top).rglob("*")]
        made = [
            Path(each) for each in ("debian/made", "debian/pvsim", "debian/.debhelper")
        ]  # by a build in the checkout
        source = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
        source = [path for path in source if not any(path.is_relative_to(each) for each in made)]
        dotfiles = [".ci/run", ".gitignore", ".mypy.ini", ".pytest.ini", ".ruff.toml"]
        self.filelist.extend([*map(str, source), *dotfiles])
        super().make_distribution()


setup(
    name="pvsim",
    version=version(),
    description="Simulated electricity meters and PV systems as Linux services",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    author="The pvsim developers",
    license="MIT",
    license_files=["debian/copyright"],
    python_requires=">=3.11",
    packages=find_packages(include=["pvsim", "pvsim.*"]),
    install_requires=["pika>=1.2", "python-daemon>=2.3", "sdnotify"],
    extras_require={"journal": ["systemd-python"], "plot": ["matplotlib"]},
    cmdclass={"sdist": WholeSource},
    entry_points={
        "console_scripts": [
            "pvsim = pvsim.tools:main",
            "pvsim-meter = pvsim.meter:main",
            "pvsim-pv = pvsim.pv:main",
        ]
    },
    zip_safe=False,
)
