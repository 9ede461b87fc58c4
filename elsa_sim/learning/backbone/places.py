"""Where the files of a backbone are: in a local folder, or in the local cache of the Hugging Face hub.

Tested in tests/learning/backbone/test_weights.py.
"""

from __future__ import annotations

from pathlib import Path


def file_of(place: str, name: str) -> Path:
    """The file ``name`` of a folder, or of a model of the Hugging Face hub, which is asked for it."""
    if (Path(place) / "config.json").is_file():
        return Path(place) / name
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(place, name))


def cached(place: str, name: str) -> Path | None:
    """The file ``name`` of a folder or, in the local cache, of a model of the hub; ``None`` if it is not there."""
    if (Path(place) / "config.json").is_file():
        path = Path(place) / name
        return path if path.exists() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(place, name)
    return Path(found) if isinstance(found, str) else None
