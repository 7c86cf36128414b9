"""Exponential families and links of generalised linear models.

Source: P. McCullagh & J. A. Nelder, Generalized Linear Models, 2nd edition, 1989, chapter 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, gammaln, logit, ndtr, ndtri, xlogy

__all__ = ["FAMILIES", "LINKS", "Family", "Link"]

Floats = npt.NDArray[np.float64]
_TINY = float(np.finfo(np.float64).eps)
_EXP_LIMIT = 700.0


@dataclass(frozen=True)
class Link:
    """g, its inverse, and the derivative of the inverse, each elementwise."""

    of_mean: Callable[[Any], Any]
    mean: Callable[[Any], Any]
    slope: Callable[[Any], Any]


def _exp(eta: Any) -> Any:
    return np.exp(np.minimum(eta, _EXP_LIMIT))


def _normal_density(eta: Any) -> Any:
    return np.exp(-0.5 * eta**2) / np.sqrt(2 * np.pi)


def _logistic_slope(eta: Any) -> Any:
    small = np.exp(-np.abs(eta))
    return small / (1 + small) ** 2


LINKS: dict[str, Link] = {
    "identity": Link(lambda mu: mu, lambda eta: eta, np.ones_like),
    "log": Link(np.log, _exp, _exp),
    "logit": Link(logit, expit, _logistic_slope),
    "probit": Link(ndtri, ndtr, _normal_density),
    "inverse": Link(lambda mu: 1 / mu, lambda eta: 1 / eta, lambda eta: -1 / eta**2),
    "cloglog": Link(
        lambda mu: np.log(-np.log1p(-mu)),
        lambda eta: -np.expm1(-_exp(eta)),
        lambda eta: _exp(eta - _exp(eta)),
    ),
}


@dataclass(frozen=True)
class Family:
    """A family: variance function, unit deviance and start, each elementwise; and which outcomes it is for.

    Attributes:
        default_link: the canonical one.
        links: those that may be used with it.
        lowest, highest: the means that are possible; fitted means are kept just inside.
        outcomes: words for the outcomes that are possible.
        possible: which outcomes are, elementwise.
        dispersion: None where it is estimated, else its known value.
    """

    default_link: str
    links: tuple[str, ...]
    lowest: float
    highest: float
    outcomes: str
    possible: Callable[[Floats], Any]
    variance: Callable[[Floats], Any]
    deviance: Callable[[Floats, Floats], Any]
    start: Callable[[Floats, Floats], Any]
    dispersion: float | None

    def fitted(self, link: Link, eta: Floats) -> Floats:
        """Means for linear predictors, kept inside what the family allows."""
        with np.errstate(all="ignore"):
            mean: Floats = np.clip(link.mean(eta), self.lowest, self.highest)
        return mean


def _of_two(y: Floats) -> bool:
    """Whether every outcome is 0 or 1: then one logarithm a row is enough."""
    return not (y * (1 - y)).any()


def _binomial_deviance(y: Floats, mu: Floats) -> Any:
    if _of_two(y):
        return -2 * np.log(np.abs(1 - y - mu))
    return 2 * (xlogy(y, y) - xlogy(y, mu) + xlogy(1 - y, 1 - y) - xlogy(1 - y, 1 - mu))


FAMILIES: dict[str, Family] = {
    "gaussian": Family(
        "identity",
        ("identity", "log", "inverse"),
        -np.inf,
        np.inf,
        "any number",
        np.isfinite,
        np.ones_like,
        lambda y, mu: (y - mu) ** 2,
        lambda y, w: y,
        None,
    ),
    "binomial": Family(
        "logit",
        ("logit", "probit", "cloglog", "log", "identity"),
        _TINY,
        1 - _TINY,
        "0 and 1, or a share between them",
        lambda y: (y >= 0) & (y <= 1),
        lambda mu: mu * (1 - mu),
        _binomial_deviance,
        lambda y, w: (w * y + 0.5) / (w + 1),
        1.0,
    ),
    "poisson": Family(
        "log",
        ("log", "identity"),
        _TINY,
        np.inf,
        "0 and more",
        lambda y: y >= 0,
        lambda mu: mu,
        lambda y, mu: 2 * (xlogy(y, y / mu) - (y - mu)),
        lambda y, w: y + 0.1,
        1.0,
    ),
    "gamma": Family(
        "inverse",
        ("inverse", "log", "identity"),
        _TINY,
        np.inf,
        "above 0",
        lambda y: y > 0,
        lambda mu: mu**2,
        lambda y, mu: 2 * ((y - mu) / mu - np.log(y / mu)),
        lambda y, w: y,
        None,
    ),
}


def likelihood_parts(family: str, y: Floats, mu: Floats, w: Floats) -> Floats:
    """The additive sums that the log-likelihood is made of, whatever the dispersion; shape (2,)."""
    match family:
        case "gaussian":
            with np.errstate(divide="ignore"):
                return np.array([np.where(w > 0, np.log(w), 0.0).sum(), 0.0])
        case "binomial" if _of_two(y):
            return np.array([float(w @ np.log(np.abs(1 - y - mu))), 0.0])
        case "binomial":
            return np.array([float(w @ (xlogy(y, mu) + xlogy(1 - y, 1 - mu))), 0.0])
        case "poisson":
            return np.array([float(w @ (xlogy(y, mu) - mu - gammaln(y + 1))), 0.0])
    return np.array([float(w @ np.log(y)), float(w @ np.log(mu))])


def log_likelihood(family: str, parts: Floats, *, deviance: float, weight: float, n: float, scale: float) -> float:
    """The log-likelihood from `likelihood_parts`, with a dispersion `scale` where the family has one.

    gaussian: the dispersion is profiled out, as in R and statsmodels.  gamma: dispersion `scale`.
    """
    match family:
        case "gaussian":
            return (
                float(0.5 * (parts[0] - n * (np.log(2 * np.pi * deviance / n) + 1))) if deviance > 0 else float("inf")
            )
        case "binomial" | "poisson":
            return float(parts[0]) / scale
    shape = 1 / scale
    ratios = deviance / 2 + parts[0] - parts[1] + weight  # sum of w y / mu
    constant = weight * (shape * np.log(shape) - gammaln(shape))
    return float((shape - 1) * parts[0] - shape * parts[1] - shape * ratios + constant)
