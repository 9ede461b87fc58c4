"""``elsa-sim export``: networks and their messages for other simulators.

Tested in tests/cli/test_commands.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import InputError
from .arguments import Plugins, load_plugins

if TYPE_CHECKING:
    from ..network.export import Scene


def export(
    source: Annotated[Path, typer.Argument(metavar="CASE|RUN_DIR", help="Network case (JSON), or a run.")],
    to: Annotated[str, typer.Option(metavar="FORMAT", help="Whose files: simgrid or ns3.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the files go.")],
    transport: Annotated[
        str | None,
        typer.Option(metavar="YAML", help="In place of the source's own: fluid, or {kind: tcp, queue: 1 s}."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there already.")] = False,
    plugin: Plugins = [],  # noqa: B006
) -> None:
    """Write a network and its flows as files that another simulator plays; what it cannot be told is a fault."""
    from ..network.export import write

    load_plugins(plugin)
    for path in write(_scene(source, _parsed(transport)), to, out, force):
        typer.echo(path)


def _scene(source: Path, transport: Any) -> Scene:
    if source.is_dir():
        from ..run.exporting import scene_of

        return scene_of(source, transport)
    from ..network import case
    from ..network.export import of_case

    given = case.load(source)
    return of_case(given if transport is None else given | {"transport": transport})


def _parsed(transport: str | None) -> Any:
    import yaml

    try:
        return None if transport is None else yaml.safe_load(transport)
    except yaml.YAMLError as error:
        raise InputError(f"--transport {transport!r} is no YAML: {str(error).splitlines()[0]}") from None
