"""Processes: they read settings, join adapters and call `nas`."""
