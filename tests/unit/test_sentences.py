"""Every sentence that a user can see stands in sentences.txt, so that it can be read at a sitting.

After a change: `/usr/bin/python3 tests/unit/test_sentences.py`, and read what `git diff` shows of it.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "pvsim"
LISTED = Path(__file__).with_name("sentences.txt")
LEVELS = {"info", "warning", "error"}
TOLD = {"Trouble", "NotAReading", "Step", "print", "_say", "_ok", "fail", "reset", "refuse"}
KEYWORDS = {"help", "description", "epilog"}


def texts(node: ast.AST) -> Iterator[str]:
    """The texts in an expression, with {names} where values go in; what is inside of a value does not count."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(
            part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"  # type: ignore[misc,attr-defined]
            for part in node.values
        )
    elif isinstance(node, ast.BinOp | ast.IfExp | ast.Tuple | ast.List | ast.BoolOp):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def is_told(call: ast.Call) -> bool:
    """Whether what a function is given is told to a user."""
    function = call.func
    if isinstance(function, ast.Attribute):
        is_log = isinstance(function.value, ast.Name) and function.value.id == "log"
        return (is_log and function.attr in LEVELS) or function.attr in TOLD
    return isinstance(function, ast.Name) and (function.id.endswith("Error") or function.id in TOLD)


def sentences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What a file tells users, with its line."""
    for node in ast.walk(tree):
        given: list[ast.AST] = []
        if isinstance(node, ast.Call):
            given = [each.value for each in node.keywords if each.arg in KEYWORDS]
            given += node.args if is_told(node) else []
        elif isinstance(node, ast.Return | ast.Yield | ast.Assign | ast.AnnAssign) and node.value:
            given = [node.value]
        for expression in given:
            for text in texts(expression):
                if len(text.split()) > 2 and text[0] not in "(^[" and "\\" not in text:
                    yield expression.lineno, " ".join(text.split())  # type: ignore[attr-defined]


def listing() -> str:
    """All of them, file by file, in their order."""
    lines = []
    for path in sorted(PACKAGE.rglob("*.py")):
        found = [text for _, text in sorted(set(sentences(ast.parse(path.read_text("utf-8")))))]
        if found:
            lines += ["", f"== {path.relative_to(PACKAGE)}", *found]
    return "\n".join(lines[1:]) + "\n"


def test_every_sentence_is_listed() -> None:
    listed, told = LISTED.read_text("utf-8").splitlines(), listing().splitlines()
    changed = [line for line in difflib.unified_diff(listed, told, lineterm="", n=0) if not line.startswith("@@")]
    assert not changed, f"run: /usr/bin/python3 tests/unit/{Path(__file__).name}, and read the change"


if __name__ == "__main__":
    LISTED.write_text(listing(), "utf-8")
