r"""How can a book about a moving code base stay true to the line?

By not writing lines down. A writer names a path and a symbol, and if need be a fragment that
stands on one line of it; this package finds the lines in one pinned tree and refuses a name that
is not there. What was found is kept in a lock, so that the book can be built without the tree, and
so that the next release can be held against it anchor by anchor.

The parts, in the order in which a target meets them: `pin` says which tree, `fetch` and `tree`
provide it, `target` reads what the writer typed, `resolver` finds it, `scanner` knows every place
in the book that typed one, `lock` remembers the answers, and `sphinx_domain` puts them on the page.
"""
