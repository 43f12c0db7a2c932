"""Channels: how an event is worded for one kind of target. A file with `CHANNEL` is one."""
