"""Telling the world: what only time brings about is noticed, and every event is delivered to its targets."""
