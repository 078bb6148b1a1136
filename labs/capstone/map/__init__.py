r"""`capstone map`: the tour of the code, as a page that is half filled in.

{py:mod}`upstream_anchors.codebase_map` knows the files, their importers and their callers, and
checks what can be checked of any map. Here is what the capstone adds: which files a tour of three
hours can hold (`tour`), how long each took (`pace`), what makes a map yours and short (`rules`),
and one page a folder to look at afterwards (`sheet`).
"""
