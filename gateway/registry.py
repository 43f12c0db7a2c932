"""Finds the members of a scanned folder: one constant per file, one sorted table, no registration code."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

__all__ = ["scan"]


def scan(package: ModuleType, constant: str) -> dict[str, Any]:
    """All values named `constant` in the modules of `package`, by their `name`.

    A file without the constant is a helper of its siblings and passed over; two members of one name are
    a programmer's error.
    """
    found: dict[str, Any] = {}
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda each: each.name):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        member = getattr(module, constant, None)
        if member is None:
            continue
        assert member.name not in found, f"two members of {package.__name__} are named {member.name}"
        found[member.name] = member
    return found
