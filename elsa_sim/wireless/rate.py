"""What a radio link carries: pure functions over NumPy arrays, all in SI units.

Shannon's capacity of a channel with additive white Gaussian noise (Shannon 1948), r = B log2(1 + P g / (N0 B)), for each
subchannel of bandwidth B (Hz) with transmit power P (W), power gain g (linear) and noise density N0 (W/Hz, the
receiver's noise figure included). Written with a power density p = P / B it is SflLLM's r = B log2(1 + p B g / (B N0)).
Does not capture coding and modulation below capacity (a cap on bit/s/Hz comes near), protocol overhead, or
interference of other cells beyond a constant rise of the noise.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def from_db(decibels: npt.ArrayLike) -> Floats:
    """Decibels as a linear factor: 10^(x / 10)."""
    return np.asarray(10.0 ** (np.asarray(decibels, dtype=np.float64) / 10.0))


def to_db(factor: npt.ArrayLike) -> Floats:
    """A linear factor in dB; 0 is minus infinity."""
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(np.asarray(factor, dtype=np.float64)))


def snr(gain: npt.ArrayLike, bandwidth: npt.ArrayLike, power: npt.ArrayLike, noise: npt.ArrayLike) -> Floats:
    """Signal-to-noise ratio P g / (N0 B), linear; of nothing sent, 0."""
    sent, heard = np.asarray(power, dtype=np.float64), np.asarray(gain, dtype=np.float64)
    return np.asarray(sent * heard / (np.asarray(noise, dtype=np.float64) * np.asarray(bandwidth, dtype=np.float64)))


def rate(
    gain: npt.ArrayLike,
    bandwidth: npt.ArrayLike,
    power: npt.ArrayLike,
    noise: npt.ArrayLike,
    cap: float | None = None,
) -> Floats:
    """Bits per second over subchannels of ``bandwidth`` (Hz); the arguments broadcast against each other.

    ``gain`` is linear, ``power`` in W per subchannel, ``noise`` in W/Hz, ``cap`` the highest efficiency (bit/s/Hz).
    """
    efficiency = np.log1p(snr(gain, bandwidth, power, noise)) / np.log(2.0)
    if cap is not None:
        efficiency = np.minimum(efficiency, cap)
    return np.asarray(np.asarray(bandwidth, dtype=np.float64) * efficiency)
