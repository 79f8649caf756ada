"""Started by path, without site packages (`python -I -S …/shim FOLDER DESCRIPTOR`): finds its own package."""

import os
import sys

if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from leasehold.shim.parent import main

    main(sys.argv[1:])
