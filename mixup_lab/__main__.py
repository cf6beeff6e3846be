"""`python -m mixup_lab` is `mixup-lab`."""

import sys

from mixup_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
