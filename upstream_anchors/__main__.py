r"""`python -m upstream_anchors`."""

import sys

from upstream_anchors.cli import main

if __name__ == "__main__":
    sys.exit(main())
