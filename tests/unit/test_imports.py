"""Imports point one way, and each outside thing is known to one file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pvsim

PACKAGE = Path(pvsim.__file__).parent
FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
ONLY_IN = {
    "pika": {
        f"broker/{name}.py"
        for name in (
            "connection",
            "live",
            "pika_private",
            "publishing",
            "queues",
            "side",
            "transport",
            "trial",
            "trouble",
        )
    },
    "daemon": {"runtime/process.py"},
    "sdnotify": {"runtime/host.py"},
    "systemd": {"runtime/logs.py"},
    "signal": {"runtime/host.py", "runtime/process.py", "disk.py"},
    "configparser": {"config/ini.py"},
}
CORE = ("models/", "ids.py", "instants.py", "reading.py", "row.py", "texts.py", "errors.py")
NOT_IN_CORE = {
    "os",
    "io",
    "socket",
    "time",
    "logging",
    "pathlib",
    "random",
    "datetime",
    "select",
    "threading",
}


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("name", FILES)
def test_imports(name: str) -> None:
    """No file imports what is not its business."""
    modules = imported(FILES[name])
    roots = {module.split(".")[0] for module in modules}
    own = {module for module in modules if module.startswith("pvsim")}
    assert not [
        library for library, files in ONLY_IN.items() if library in roots and name not in files and "tools/" not in name
    ]
    if name.startswith(CORE):
        assert not roots & NOT_IN_CORE
    if name.startswith("models/"):
        assert all(module.startswith(("pvsim.models", "pvsim.instants")) for module in own)
    if not name.startswith("tools/"):
        others = [f"pvsim.{room}" for room in ("meter", "pv", "tools") if not name.startswith(f"{room}/")]
        assert not [module for module in own if module.startswith(tuple(others))]
