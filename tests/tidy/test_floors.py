"""One-way floors: a file imports lower floors and its own folder, nothing else of the gateway."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.tidy.source import Module, modules

# From the ground up; names on one line are siblings that never import each other.
FLOORS = (
    ("domain",),
    ("formats",),
    ("providers",),
    ("relay", "store"),
    ("ledger",),
    ("gate", "reports", "alerts"),
    ("api", "dashboard", "cli", "demo"),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
# Single files beside the floors, and the lowest floor that may use each.
GROUND = {
    "registry": 1,
    "clock": 1,
    "sealing": LEVEL["relay"],
    "telemetry": LEVEL["relay"],
    "settings": len(FLOORS),
    "sections": len(FLOORS),
}
# The composition root may import everything; the simulators nothing.
ROOTS = (
    "gateway",
    "gateway.app",
    "gateway.loops",
    "gateway.serving",
    "gateway.upstreams",
    "gateway.__main__",
)
PURE = ("domain", "formats", "providers")
IMPURE = {
    "asyncio",
    "logging",
    "os",
    "random",
    "secrets",
    "socket",
    "sqlalchemy",
    "starlette",
    "subprocess",
    "threading",
    "time",
    "uvicorn",
}


def imports(module: Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.where}:{node.lineno} imports relatively"
            yield node.lineno, node.module or ""


def allowed(module: Module, target: str) -> bool:
    parts = target.split(".")
    if parts[0] != "gateway" or module.name in ROOTS or module.floor == (parts[1:] or [""])[0]:
        return True
    if module.floor == "simulators" or len(parts) == 1:
        return False
    if parts[1] == "simulators":
        return module.floor == "demo"
    own = LEVEL.get(module.floor, GROUND.get(module.name.removeprefix("gateway."), 0))
    if parts[1] in GROUND:
        return own >= GROUND[parts[1]] or module.floor == "cli"
    return parts[1] in LEVEL and LEVEL[parts[1]] < own


def test_every_folder_is_a_floor() -> None:
    folders = {module.floor for module in modules() if module.floor}
    assert folders <= {*LEVEL, "simulators"}


def test_imports_go_down() -> None:
    wrong = [
        f"{module.where}:{line} imports {name}"
        for module in modules()
        for line, name in imports(module)
        if not allowed(module, name)
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_floors_do_no_io() -> None:
    pure = [module for module in modules() if module.floor in PURE]
    wrong = [
        f"{module.where}:{line} imports {name}"
        for module in pure
        for line, name in imports(module)
        if name.split(".")[0] in IMPURE
    ]
    wrong += [
        f"{module.where}:{node.lineno} awaits, or reads the clock instead of taking the time"
        for module in pure
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Await | ast.AsyncFunctionDef)
        or (isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"))
    ]
    assert not wrong, "\n".join(wrong)


def test_frameworks_stay_on_their_floors() -> None:
    homes = {
        "sqlalchemy": {"store", "reports", "gate", "api", "ledger"},
        "starlette": {"api", "dashboard", "simulators", ""},
        "jinja2": {"dashboard"},
        "cryptography": {""},
        "prometheus_client": {"api"},
        "uvicorn": {"api", "simulators", ""},
        "typer": {"cli"},
        "httptools": {"relay", "api"},
        "tiktoken": {"formats", "simulators"},
        "genai_prices": {"store"},
    }
    wrong = [
        f"{module.where}:{line} imports {name}; it belongs to {', '.join(sorted(homes[name.split('.')[0]]))}"
        for module in modules()
        for line, name in imports(module)
        if name.split(".")[0] in homes and module.floor not in homes[name.split(".")[0]]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_module_is_imported_by_another_or_found_by_the_registry() -> None:
    scanned = {"formats": "FORMAT", "providers": "PROVIDER", "reports": "REPORT", "alerts": "CHANNEL"}
    imported = {name for module in modules() for _, name in imports(module)}
    for module in modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    # Loaded by name: Alembic is imported only when there is something to migrate.
    by_name = {
        "gateway.store.alembic_runner",
        "gateway.demo.play",
        "gateway.cli.db_tasks",
        "gateway.cli.examination",
    }
    unused = [
        module.where
        for module in modules()
        if module.name not in imported | by_name
        and not module.name.endswith("__main__")
        and module.name not in ROOTS
        and not (module.floor in scanned and f"\n{scanned[module.floor]}" in module.text)
        and not (module.name.startswith("gateway.formats.translation.") and "\nTRANSLATION" in module.text)
        and module.path.name != "__init__.py"
    ]
    assert not unused, f"nobody imports {', '.join(unused)}"
