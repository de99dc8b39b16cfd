"""`python -m mathdl` is the command `mathdl`."""

import sys

from mathdl.cli import main

if __name__ == "__main__":
    sys.exit(main())
