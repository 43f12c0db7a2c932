"""Simulated providers: a real HTTP server that answers in each dialect, for the demo, the tests and the benchmark."""
