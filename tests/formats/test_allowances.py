"""Allowances hold for the dearest thing they stand for."""

from __future__ import annotations

import math

import pytest

from gateway.formats.allowances import audio_tokens_max, image_tokens_max


@pytest.mark.parametrize(
    ("model", "low", "high"),
    [
        ("gpt-4o", 85, 1_445),
        ("openai/gpt-4o-2024-08-06", 85, 1_445),
        ("gpt-4.1", 85, 1_445),
        ("o3", 85, 1_445),
        ("gpt-5", 85, 1_445),
        ("gpt-5-2025-08-07", 85, 1_445),
        ("gpt-4.1-mini", 3_779, 3_779),
        ("gpt-5-nano-2025-08-07", 3_779, 3_779),
        ("o4-mini", 3_779, 3_779),
        ("gpt-4o-mini", 2_833, 48_169),
        ("gpt-5.2", 2_833, 48_169),
        ("harbour-vision", 2_833, 48_169),
    ],
)
def test_an_image_is_bounded_by_its_models_rule(model: str, low: int, high: int) -> None:
    assert image_tokens_max(model, "low") == low
    for detail in (None, "auto", "high", "original"):
        assert image_tokens_max(model, detail) == high


@pytest.mark.parametrize(
    ("width", "height"), [(1024, 1024), (2048, 4096), (4000, 300), (300, 4000), (8000, 8000)]
)
def test_the_bound_of_a_tiled_image_covers_the_published_rule(width: int, height: int) -> None:
    scale = min(1, 2048 / max(width, height))
    width, height = round(width * scale), round(height * scale)
    scale = min(1, 768 / min(width, height))
    tiles = math.ceil(width * scale / 512) * math.ceil(height * scale / 512)
    assert image_tokens_max("gpt-4o", "high") >= 85 + 170 * tiles
    assert image_tokens_max("gpt-4o-mini", "high") >= 2833 + 5667 * tiles


def test_audio_is_bounded_by_its_thinnest_stream() -> None:
    seconds = 600
    base64_chars = seconds * 1_000 * 4 // 3
    assert audio_tokens_max(base64_chars) >= seconds * 32
    assert audio_tokens_max(0) >= 10
