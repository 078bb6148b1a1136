"""The ways in: a class for scripts, and a command for shells."""
