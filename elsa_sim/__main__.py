"""``python -m elsa_sim`` is ``elsa-sim``."""

import os
import sys

if __name__ == "__main__":
    # Python has put the current folder first, where a torch.py of the user's would be taken for the library.
    if sys.path and not sys.flags.safe_path and sys.path[0] == os.getcwd():
        del sys.path[0]

    from elsa_sim.cli import main

    main()
