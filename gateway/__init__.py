"""Tollgate: a gateway for LLM traffic."""
