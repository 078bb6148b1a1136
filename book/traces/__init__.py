r"""Recorded runs of the engine, for the trace player.

A *scenario* is a function that drives the real scheduler and the real block pool with a scripted
model and returns a {py:class}`~book.traces.recording.Recording`. Each has a module of its own;
{py:mod}`book.traces.registry` knows them by name. Nothing here needs torch or Sphinx, and a
recording holds no time and no address, so two of them are equal to the byte.

How to put one on a page, and how to add a scenario, stands in `book/_ext/trace_player`.
"""
