"""`python -m disentlib`."""

import sys

from disentlib.experiments.cli import main

if __name__ == "__main__":
    sys.exit(main())
