"""The shape of the code: small functions, said purposes, no hidden state, integers for money."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from tests.tidy.source import Module, functions, modules

LONGEST_FUNCTION = 70
# Modules larger than this are asked to split by meaning. The exceptions may shrink, never grow.
LONGEST_MODULE = 400
LARGER_MODULES: dict[str, int] = {}
MONEY_FLOORS = ("domain", "store", "ledger", "gate")
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
# Seconds and ratios may be floats; amounts, prices and counts may not.
FLOAT = re.compile(r"\bfloat\b")
FLOAT_NAMES = re.compile(r"(_s|seconds|deadline|waiting)$")
SUPERVISORS = {
    "gateway.alerts.dispatcher",
    "gateway.app",
    "gateway.gate.attempts",
    "gateway.gate.steps",
    "gateway.ledger.journal",
    "gateway.loops",
    "gateway.store.lanes",
}


def report(found: Iterable[str]) -> None:
    """Fail with every offence at once."""
    offences = list(found)
    assert not offences, "\n" + "\n".join(offences)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its length without the docstring."""
    first = function.body[0]
    length = (function.end_lineno or 0) - function.lineno + 1
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        length -= (first.end_lineno or 0) - first.lineno + 1
    return length


def nodes() -> Iterator[tuple[Module, ast.AST]]:
    """Every node of every module."""
    for module in modules():
        for node in ast.walk(module.tree):
            yield module, node


def test_functions_fit_a_glance() -> None:
    report(
        f"{module.where}:{function.lineno} {function.name} has {lines_of(function)} lines"
        for module in modules()
        for function in functions(module)
        if lines_of(function) > LONGEST_FUNCTION
    )


def test_modules_stay_readable() -> None:
    report(
        f"{module.where} has {lines} lines: split it by meaning"
        for module in modules()
        if (lines := module.text.count("\n")) > LARGER_MODULES.get(module.name, LONGEST_MODULE)
    )


def test_modules_say_what_they_own() -> None:
    report(module.where for module in modules() if not ast.get_docstring(module.tree))


def test_public_things_have_a_sentence() -> None:
    report(
        f"{module.where}:{node.lineno} {node.name}"
        for module in modules()
        for node in module.tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    )


def test_no_import_hides_in_a_function() -> None:
    report(
        f"{module.where}:{node.lineno}"
        for module in modules()
        for function in functions(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    )


def test_no_state_is_global() -> None:
    report(f"{module.where}:{node.lineno}" for module, node in nodes() if isinstance(node, ast.Global))


def test_broad_excepts_are_supervisors() -> None:
    """A broad except hides bugs, unless it passes them on or contains and logs a defect of one call."""
    report(
        f"{module.where}:{node.lineno}"
        for module, node in nodes()
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
        and module.name not in SUPERVISORS
    )


def test_nothing_is_left_over() -> None:
    report(
        f"{module.where}:{number}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if LEFTOVER.search(line)
    )


def test_money_is_never_a_float() -> None:
    report(
        f"{module.where}:{node.lineno} {what}"
        for module, node in nodes()
        if module.floor in MONEY_FLOORS and (what := inexact(module, node)) and hasattr(node, "lineno")
    )


def inexact(module: Module, node: ast.AST) -> str | None:
    """What makes a figure inexact here, if anything does."""
    if isinstance(node, ast.arg) and node.annotation and FLOAT.search(ast.unparse(node.annotation)):
        return None if FLOAT_NAMES.search(node.arg) else f"{node.arg} is a float"
    if isinstance(node, ast.AnnAssign) and FLOAT.search(ast.unparse(node.annotation)):
        name = ast.unparse(node.target)
        return None if FLOAT_NAMES.search(name) else f"{name} is a float"
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "float":
        return "float(...)"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and module.floor == "domain":
        return "true division"
    return None
