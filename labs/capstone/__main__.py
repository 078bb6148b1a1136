"""`python -m capstone`: the same as `capstone`."""

import sys

from capstone.cli import main

if __name__ == "__main__":
    sys.exit(main())
