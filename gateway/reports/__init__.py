"""The read side: what was spent, by whom, on what."""
