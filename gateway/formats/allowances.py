"""What a prompt costs beyond its text: fixed allowances for what the provider adds or renders itself.

Each is an upper bound from the provider's documentation or from measurement, used in quotes only: what
was really consumed is in the provider's usage.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "BASE_TOKENS",
    "MESSAGE_TOKENS",
    "SCHEMA_TOKENS",
    "TOOLS_TOKENS",
    "TOOL_TOKENS",
    "audio_tokens_max",
    "image_tokens_max",
]

# Every OpenAI prompt ends in `<|im_start|>assistant<|im_sep|>` and may begin with a system message of the
# provider's; other makers' templates are of the same size.
BASE_TOKENS: Final = 32
# `<|im_start|>{role}<|im_sep|>...<|im_end|>`: 3 tokens and the role, in OpenAI's cookbook ("How to count
# tokens with tiktoken"); other makers' templates take up to twice that.
MESSAGE_TOKENS: Final = 8
# The instructions that tell a model how to call tools. DeepSeek's were measured at 250 tokens, the largest
# seen.
TOOLS_TOKENS: Final = 512
TOOL_TOKENS: Final = 32
# The instructions around a JSON schema for the reply.
SCHEMA_TOKENS: Final = 128

# OpenAI, "Images and vision": an image is scaled into 2048 x 2048 and to 768 on its short side, then costs a
# base and up to 8 tiles of 512 x 512: 85 + 8 * 170 on gpt-4o, 2833 + 8 * 5667 on gpt-4o-mini; or, on the
# small models since gpt-4.1-mini, up to 1,536 patches of 32 x 32 times at most 2.46, whatever the detail.
_TILED: Final = re.compile(
    r"(?:gpt-4o(?!-mini)|chatgpt-4o|gpt-4-turbo|gpt-4-vision|gpt-4\.[15](?!-mini|-nano)|o1(?!-mini)|o3(?!-mini)"
    r"|gpt-5(?:\.1)?(?:-chat|-codex|-\d{4}|$))"
)
_PATCHED: Final = re.compile(r"(?:gpt-4\.1-(?:mini|nano)|o4-mini|gpt-5(?:\.\d)?-(?:mini|nano))")
_TILED_LOW, _TILED_HIGH = 85, 85 + 8 * 170
_PATCHED_ANY: Final = 3_779  # ceil(1536 * 2.46)
# The dearest published rule stands for every model whose rule is not known.
_LOW, _HIGH = 2_833, 2_833 + 8 * 5_667

# The thinnest stream OpenAI or Google accept, MP3 at 8 kbit/s, has 1,000 bytes a second, and the most
# tokens a second any of them counts is 32 (Gemini); base64 makes four bytes of three.
_AUDIO_BYTES_PER_TOKEN: Final = 32
_AUDIO_TOKENS_MIN: Final = 100


def image_tokens_max(model: str, detail: str | None) -> int:
    """The most that one image can cost, by the model's name as the caller wrote it."""
    name = model.rpartition("/")[2]
    if _PATCHED.match(name):
        return _PATCHED_ANY
    if _TILED.match(name):
        return _TILED_LOW if detail == "low" else _TILED_HIGH
    return _LOW if detail == "low" else _HIGH


def audio_tokens_max(base64_chars: int) -> int:
    """The most that an audio clip of so much base64 can cost."""
    return _AUDIO_TOKENS_MIN + base64_chars // _AUDIO_BYTES_PER_TOKEN
