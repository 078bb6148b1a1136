r"""`python -m labkit` is {py:mod}`labkit.maintain`; the learner's command is `labs`."""

import sys

from labkit.maintain import main

sys.exit(main())
