"""Check the summary of a quickstart run: `python tests/check_quickstart.py RUN_DIR`."""

import json
import sys
from pathlib import Path


def faults(summary: dict) -> list[str]:
    """What the quickstart promises and its summary does not show."""
    kinds = summary["bytes"]["by_kind"]
    expected = {
        "it ended": summary["complete"] and summary["outcome"] == "done",
        "it learns: accuracy over 0.8": summary["accuracy"] > 0.8,
        "invariants hold": summary["invariants"] == "hold",
        "activations, gradients and adapters crossed": min(
            kinds.get(k, 0) for k in ("activation", "gradient", "adapters")
        )
        > 0,
        "bytes add up": sum(kinds.values()) == summary["bytes"]["total"],
        "simulated time passed": summary["sim_time_s"] > 1.0,
        "energy was spent": summary["energy_j"]["marginal"] > 0.0,
    }
    return [promise for promise, kept in expected.items() if not kept]


if __name__ == "__main__":
    broken = faults(json.loads((Path(sys.argv[1]) / "summary.json").read_text()))
    sys.exit(f"the quickstart does not keep: {'; '.join(broken)}" if broken else 0)
