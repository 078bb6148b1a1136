"""The book's own Sphinx extensions, one noun a file; `conf.py` lists them."""
