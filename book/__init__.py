"""The book: its pages, and the Python that computes what they say."""
