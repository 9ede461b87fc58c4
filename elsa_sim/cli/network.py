"""``elsa-sim network``: flows on a topology, without learning.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer


def network(case_file: Annotated[Path, typer.Argument(metavar="CASE", help="Network case (JSON).")]) -> None:
    """Play flows on a topology without any learning; prints {"finish_s": {id: seconds}}, null for flows that never end."""
    from ..network import case

    finish = case.play(case.load(case_file))
    ended = {flow: time if time < math.inf else None for flow, time in finish.items()}
    typer.echo(json.dumps({"finish_s": ended}, indent=1, allow_nan=False))
    never = [flow for flow, time in ended.items() if time is None]
    if never:
        typer.echo(f"never ends, as bandwidth on its way stays 0: {', '.join(never)}", err=True)
