"""How files of other programs write units: ``Mbps``, ``kbit/s``, ``MB/s``, ``bits per second``; ``ms``, ``seconds``.

What could be read in two ways (``Mb``, ``MBPS``) is none. Units of this program's own files: :mod:`..base.units`.
"""

from __future__ import annotations

import re

from ..base.units import UNITS

_SCALE = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12,
          "kilo": 1e3, "mega": 1e6, "giga": 1e9, "tera": 1e12}  # fmt: skip
_PER = r"(?:/\s?s(?:ec(?:ond)?)?|\sper\ssec(?:ond)?|ps|_?per_?sec(?:ond)?)"
_BITS = re.compile(rf"([kKmMgGtT]?)(?:bits?|b){_PER}")
_BYTES = re.compile(rf"([kKmMgGtT]?)(?:[bB]ytes?|B){_PER}")
_WORDS = re.compile(rf"(kilo|mega|giga|tera)(bits?|bytes?){_PER}", re.IGNORECASE)
_TIMES = {1.0: "s sec secs second seconds", 1e-3: "ms msec msecs millis millisecond milliseconds",
          1e-6: "us µs usec microsecond microseconds", 1e-9: "ns nanosecond nanoseconds",
          60.0: "min minute minutes", 3600.0: "h hour hours"}  # fmt: skip
_SECONDS = {name: factor for factor, names in _TIMES.items() for name in names.split()}


def bandwidth_unit(text: str) -> float | None:
    """The bit/s of one such unit, or ``None`` if it is no unit of bandwidth, or could be two."""
    text = " ".join(text.split())
    if text in UNITS["bandwidth"]:
        return UNITS["bandwidth"][text]
    match = _BITS.fullmatch(text) or _BYTES.fullmatch(text)
    if match:
        return _SCALE[match[1].lower()] * (8.0 if match.re is _BYTES else 1.0)
    words = _WORDS.fullmatch(text)
    if words:
        return _SCALE[words[1].lower()] * (8.0 if words[2].lower().startswith("byte") else 1.0)
    plain = text.lower()
    return 1.0 if plain in ("bits per second", "bit per second") else 8.0 if plain == "bytes per second" else None


def time_unit(text: str) -> float | None:
    """The seconds of one such unit, or ``None``."""
    text = text.strip()
    return _SECONDS.get(text, _SECONDS.get(text.lower()) if len(text) > 2 else None)


#: quantity -> how its units are read.
UNIT_OF = {"bandwidth": bandwidth_unit, "time": time_unit}
_USUAL = {"bandwidth": "bit/s, kbit/s, Mbit/s or MB/s", "time": "s, ms or us"}


def unit_fault(text: str, quantity: str) -> str | None:
    """What is wrong with a unit of a scenario, or ``None``."""
    return (
        f"{text!r} is not a unit of {quantity}, such as {_USUAL[quantity]}" if UNIT_OF[quantity](text) is None else None
    )


def unit_in(heading: str, quantity: str) -> float | None:
    """The unit that the heading of a column states: ``time_ms``, ``bandwidth (Mbit/s)``, ``bits per second``; or ``None``."""
    unit = UNIT_OF[quantity]
    heading = " ".join(heading.split())
    bracketed = re.fullmatch(r"[^()\[\]]*[(\[]([^()\[\]]*)[)\]]", heading)
    if bracketed:
        return unit(bracketed[1])
    starts = [0, *(match.end() for match in re.finditer(r"[\s_/,:-]+(?:in\s)?", heading))]
    return next((found for start in starts if (found := unit(heading[start:])) is not None), None)
