"""Code in the documents is the code that runs."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_the_example_of_a_check_is_its_source() -> None:
    page = (_ROOT / "docs/writing-a-check.md").read_text(encoding="utf-8")
    (fenced,) = re.findall(r"^ *```python\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    shown = textwrap.dedent(fenced)
    (function,) = ast.parse(shown).body
    assert isinstance(function, ast.FunctionDef)
    path = _ROOT / "suites/conformance/test_encryption.py"
    source = path.read_text(encoding="utf-8")
    (real,) = (
        each
        for each in ast.parse(source).body
        if isinstance(each, ast.FunctionDef) and each.name == function.name
    )
    first = min(decorator.lineno for decorator in real.decorator_list)
    lines = source.splitlines(keepends=True)[first - 1 : real.end_lineno]
    assert shown == "".join(lines)
