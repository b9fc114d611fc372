"""``python -m ivit_ref`` is ``ivit-ref``."""

import sys

from ivit_ref.cli import main

sys.exit(main())
