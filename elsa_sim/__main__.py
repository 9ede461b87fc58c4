"""``python -m elsa_sim`` is ``elsa-sim``."""

from .cli import main

if __name__ == "__main__":
    main()
