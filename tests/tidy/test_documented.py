"""What users can meet is written down: settings, error codes, endpoints, reports."""

from __future__ import annotations

from pathlib import Path

import gateway.reports
from gateway.api.metrics import FAMILIES
from gateway.domain import errors
from gateway.domain.event_types import EVENT_TYPES
from gateway.registry import scan
from gateway.settings import documented
from tests.tidy.source import ROOT


def text_of(*names: str) -> str:
    return "\n".join(Path(ROOT, name).read_text(encoding="utf-8") for name in names)


def test_every_setting_is_in_the_sample() -> None:
    sample = text_of("config/gateway.toml")
    missing = [name for name, _, _ in documented() if f"# {name.rsplit('.', 1)[1]} = " not in sample]
    assert not missing


def test_every_error_code_is_explained() -> None:
    page = text_of("docs/data-plane.md")
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {code for kind in kinds for code in getattr(kind, "codes", ())}
    assert codes
    assert not [code for code in sorted(codes) if f"`{code}`" not in page]


def test_every_report_is_explained() -> None:
    page = text_of("docs/reports.md")
    names = scan(gateway.reports, "REPORT")
    assert names
    assert not [name for name in names if f"`{name}`" not in page]


def test_every_metric_is_explained() -> None:
    page = text_of("docs/operating.md")
    series = [f"{name}_total" if kind == "counter" else name for name, (kind, _, _) in FAMILIES.items()]
    assert not [name for name in series if f"`{name}`" not in page]


def test_the_pages_the_readme_names_are_there() -> None:
    readme = text_of("README.md")
    named = [part.partition(")")[0] for part in readme.split("](")[1:]]
    assert not [name for name in named if "://" not in name and not Path(ROOT, name).exists()]


def test_every_event_is_explained() -> None:
    page = text_of("docs/alerts.md")
    assert not [event for event in EVENT_TYPES if f"`{event}`" not in page]
