"""The gateway's own source as trees, parsed once for all rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "Module", "functions", "modules"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, its floor (the folder under gateway), its tree and text."""

    name: str
    floor: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        """The path from the root, for messages."""
        return str(self.path.relative_to(ROOT))


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package."""
    found = []
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        floor = parts[1] if len(parts) > 2 else ""
        text = path.read_text(encoding="utf-8")
        found.append(Module(name, floor, path, text, ast.parse(text)))
    return tuple(found)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
