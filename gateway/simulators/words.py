"""The words simulated models say: sentences whose every word and mark is one o200k_base token.

Hence a stream that hands over one word per event hands over one token per event, and a gateway that
counts the text with tiktoken arrives at the very number the simulator bills.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final

from gateway.simulators.tokens import pieces

__all__ = ["REFUSAL", "SENTENCES", "THOUGHTS", "TOPICS", "answer_words", "thought_words"]

_TOPICS = """
    tide ocean river rain weather winter summer garden tree forest bird horse dog cat bread coffee tea
    music song poem story book letter map city street train bridge ship plane road house door window
    light shadow star moon sun planet space time clock history science math code python data model token
    budget price cost money bank market team work school student teacher doctor health sleep dream
    memory language word love friend family child game football chess travel island mountain fire ice
    stone gold paper
"""
TOPICS: Final = frozenset(_TOPICS.split())
SENTENCES: Final = (
    "Think of {topic} as a river: many small streams join, and what counts is what reaches the sea.",
    "A good first step is to look at {topic} slowly, one part at a time, and write down what you see.",
    "Most people start in the middle, but the edges of {topic} are where the best questions live.",
    "There is a simple rule here: measure first, then decide, and keep a record of both.",
    "In practice the small costs add up faster than the large ones, because nobody is watching them.",
    "If you want to learn more about {topic}, ask someone who has done it twice.",
    "The short answer is yes, with one condition that is easy to forget.",
    "Every plan for {topic} looks clean on paper and a little messy by the end of the week.",
    "Try it on a small scale, watch what happens, and only then make it bigger.",
    "What surprised me most about {topic} is how much depends on good timing.",
    "It helps to draw a picture, even a bad one, and share it with a friend.",
    "The long answer takes an hour, some tea, and a very large piece of paper.",
    "None of this is magic; it is patience, light, and a list that gets shorter each day.",
    "When in doubt, choose the option that you can undo in the morning.",
)
THOUGHTS: Final = (
    "The user wants a clear answer about {topic}.",
    "Let me think about what matters most here, and in which order.",
    "First the facts, then the limits, then one example that is easy to check.",
    "I should keep it short and say what I do not know.",
)
REFUSAL: Final = "I am sorry, but I can not help with that request."
_WORD: Final = re.compile(r"[a-z]+")


def _topic(prompt: str) -> str:
    """The last word of the prompt that the models have something to say about."""
    known = [word for word in _WORD.findall(prompt.lower()) if word in TOPICS]
    return known[-1] if known else "this"


def _endless(frames: tuple[str, ...], topic: str, start: int) -> Iterator[str]:
    index = start
    lead = ""
    while True:
        yield from pieces(lead + frames[index % len(frames)].format(topic=topic))
        lead = " "
        index += 1


def answer_words(prompt: str, seed: int, words: int | None) -> list[str]:
    """What a model says to a prompt: exactly so many tokens, or whole sentences of 30 to 60."""
    start = zlib.crc32(prompt.encode("utf-8", "surrogatepass")) + seed
    said: list[str] = []
    for piece in _endless(SENTENCES, _topic(prompt), start):
        if words is not None and len(said) >= words:
            return said
        said.append(piece)
        if words is None and len(said) >= 30 and piece == ".":
            return said
    return said


def thought_words(prompt: str, count: int) -> list[str]:
    """What a model thinks before it speaks: exactly so many tokens."""
    thoughts = _endless(THOUGHTS, _topic(prompt), 0)
    return [next(thoughts) for _ in range(count)]
