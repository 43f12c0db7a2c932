"""Revisions in order: NNNN_<verb>_<noun>.py. Each runs while the previous release still serves."""
