"""`python3 -m pvsim.tools` is `pvsim`."""

from __future__ import annotations

import sys

from pvsim.tools import main

if __name__ == "__main__":
    sys.exit(main())
