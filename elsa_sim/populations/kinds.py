"""Distributions by a formula: log-normal, uniform, a choice among values, and mixtures."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Annotated, Any, ClassVar, Generic, Literal, Self

from annotated_types import Ge, Gt, Le, Len
from pydantic import Field, model_validator

from ..base.context import Context
from ..base.errors import Fault, InputFaults
from ..base.registry import Items
from .distribution import Distribution, Part, Q

_NORMAL = NormalDist()
Weight = Annotated[float, Ge(0.0), Le(1e12)]


class Clipped(Distribution[Q], Generic[Q]):
    """One of numbers, within bounds."""

    at_least: Q | None = Field(default=None, description="What would be drawn below is this.")
    at_most: Q | None = Field(default=None, description="What would be drawn above is this.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        low, high = self.at_least, self.at_most
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise ValueError(f"at_least, {low:g}, is above at_most, {high:g}")
        return self

    def clipped(self, value: Any) -> Any:
        """``value`` within the bounds."""
        if self.at_least is not None:
            value = max(value, self.at_least)
        return value if self.at_most is None else min(value, self.at_most)


class Lognormal(Clipped[Q], Generic[Q]):
    """Log-normal: the logarithm is normal with the standard deviation ``sigma``."""

    kind: Literal["lognormal"] = "lognormal"
    median: Q | None = Field(default=None, description="Half of the clients have less; or ``mean``.")
    mean: Q | None = Field(default=None, description="Mean, instead of the median: median exp(sigma^2 / 2).")
    sigma: Annotated[float, Ge(0.0), Le(10.0)] | None = Field(
        default=None, description="Standard deviation of the natural logarithm; or ``cv``."
    )
    cv: Annotated[float, Gt(0.0), Le(1e6)] | None = Field(
        default=None,
        description="Coefficient of variation, standard deviation over mean, instead of sigma: sigma^2 = ln(1 + cv^2).",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for one, other in (("median", "mean"), ("sigma", "cv")):
            if (getattr(self, one) is None) == (getattr(self, other) is None):
                raise ValueError(f"a log-normal distribution needs either {one} or {other}")
        centre = self.mean if self.median is None else self.median
        if isinstance(centre, int | float) and centre <= 0:
            raise ValueError("the median, or mean, of a log-normal distribution must be > 0")
        return self

    def quantile(self, u: float) -> Any:
        sigma: float = math.sqrt(math.log1p((self.cv or 0.0) ** 2)) if self.sigma is None else self.sigma
        centre: Any = self.median if self.mean is None else self.mean
        shift = 0.0 if self.mean is None else -0.5 * sigma**2
        return self.clipped(centre * math.exp(sigma * _NORMAL.inv_cdf(u) + shift))


class Uniform(Distribution[Q], Generic[Q]):
    """Uniform between two values."""

    kind: Literal["uniform"] = "uniform"
    low: Q = Field(description="Lowest value.")
    high: Q = Field(description="Highest value.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        low, high = self.low, self.high
        if isinstance(low, float) and isinstance(high, float) and low > high:
            raise ValueError(f"low, {low:g}, is above high, {high:g}")
        return self

    def quantile(self, u: float) -> Any:
        low, high = float(self.low), float(self.high)  # type: ignore[arg-type]
        return low + u * (high - low)


class _Weighted(Distribution[Q], Generic[Q]):
    weights: Items[tuple[Weight, ...]] | None = Field(
        default=None, description="How many clients have each, as shares of the sum; equally many without."
    )

    def _several(self) -> tuple[Any, ...]:
        raise NotImplementedError

    @model_validator(mode="after")
    def _a_weight_for_each(self) -> Self:
        count = len(self._several())
        if self.weights is not None and len(self.weights) != count:
            raise ValueError(f"there are {count} to choose from, and {len(self.weights)} weights")
        if self.weights is not None and not sum(self.weights):
            raise ValueError("the weights are all 0")
        return self

    def _pick(self, u: float) -> tuple[Any, float]:
        """The one that ``u`` falls into, and how far into its share (0 to 1)."""
        several = self._several()
        weights = self.weights or (1.0,) * len(several)
        left, last = u * math.fsum(weights), (several[0], 0.5)
        for one, weight in zip(several, weights, strict=True):
            if weight > 0 and left < weight:
                return one, left / weight
            if weight > 0:
                last = (one, 1.0 - 2.0**-53)
            left -= weight
        return last  # by rounding only


class Choice(_Weighted[Q], Generic[Q]):
    """One of several values, each with its share of the clients."""

    kind: Literal["choice"] = "choice"
    of_text: ClassVar[bool] = True
    of: Annotated[Items[tuple[Q, ...]], Len(min_length=1)] = Field(description="The values.")

    def _several(self) -> tuple[Q, ...]:
        return self.of

    def quantile(self, u: float) -> Q:
        """The value that the share ``u`` falls into, in the order of the list."""
        value: Q = self._pick(u)[0]
        return value


class Mixture(_Weighted[Q], Generic[Q]):
    """One of several distributions, each with its share of the clients."""

    kind: Literal["mixture"] = "mixture"
    part: ClassVar[bool] = False
    of: Annotated[Items[tuple[Part[Q], ...]], Len(min_length=1)] = Field(description="Distributions, or values.")

    def _several(self) -> tuple[Any, ...]:
        return self.of

    def loaded(self, context: Context, key: str) -> Self:
        parts: list[Any] = []
        faults: list[Fault] = []
        for i, each in enumerate(self.of):
            try:
                parts.append(each.loaded(context, f"{key}.of.{i}") if isinstance(each, Distribution) else each)
            except InputFaults as error:
                faults += error.faults
        if faults:
            raise InputFaults(faults)
        return self.model_copy(update={"of": tuple(parts)})

    def quantile(self, u: float) -> Any:
        """A quantile of the distribution that ``u`` falls into."""
        one, rest = self._pick(u)
        return one.quantile(min(max(rest, 2.0**-54), 1.0 - 2.0**-53)) if isinstance(one, Distribution) else one
