"""A fitted model under the names of statsmodels' results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr, stdtrit

from datatrust.research.results.base import NeedsRows, Released, Text, axes
from trust.analyses.families import FAMILIES, LINKS, log_likelihood
from trust.analyses.terms import label, numbers, term_columns
from trust.dataset.expressions import Expression, written
from trust.dataset.rows import Rows
from trust.errors import StudyInvalid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GlmResult", "Prediction", "WaldTest"]

_NEED_ROWS = {
    "resid": "the deviance",
    "resid_pearson": "pearson_chi2",
    "resid_deviance": "the deviance",
    "resid_response": "the deviance",
    "resid_working": "the deviance",
    "fittedvalues": "predict(frame) for a frame of your own",
    "mu": "predict(frame) for a frame of your own",
    "get_influence": "cov_params()",
    "get_hat_matrix_diag": "cov_params()",
    "score_obs": "cov_params()",
}


@dataclass(frozen=True)
class _Model:
    """What statsmodels keeps under `.model`."""

    formula: str
    endog_names: str
    exog_names: list[str]
    family: str
    link: str


@dataclass(frozen=True)
class WaldTest:
    """A joint test of linear hypotheses; `df_denom` is None where the normal approximation is used."""

    statistic: float
    pvalue: float
    df_num: int
    df_denom: float | None

    def __str__(self) -> str:
        kind = f"chi2({self.df_num})" if self.df_denom is None else f"F({self.df_num}, {self.df_denom:g})"
        return f"<Wald test: {kind} = {self.statistic:.6g}, p = {self.pvalue:.4g}>"

    __repr__ = __str__


@dataclass(frozen=True)
class Prediction:
    """Predicted means with their uncertainty."""

    frame: pd.DataFrame

    @property
    def predicted_mean(self) -> npt.NDArray[np.float64]:
        return self.frame["mean"].to_numpy()

    def summary_frame(self) -> pd.DataFrame:
        """Columns `mean mean_se mean_ci_lower mean_ci_upper`; limits are transformed from the linear predictor's."""
        return self.frame


class GlmResult(Released):
    """Fitted by sums over nodes; equal to the fit on the pooled rows.

    Standard errors are those of the converged fit.  p-values and intervals use Student's t where the dispersion is
    estimated (as R and statsmodels' OLS do), the normal distribution elsewhere and with robust errors.
    """

    def _series(self, values: Any) -> pd.Series[float]:
        return pd.Series(np.asarray(values, dtype=float), index=self._names)

    @cached_property
    def _names(self) -> list[str]:
        return [str(n) for n in self.values["names"]]

    def _number(self, name: str) -> float:
        return float(self.values[name])

    # ---- what statsmodels has

    @property
    def model(self) -> _Model:
        """Formula and names."""
        return _Model(
            self.formula, written(self.analysis.outcome), self._names, self.analysis.family, self.analysis.link
        )

    @property
    def formula(self) -> str:
        """The formula, written out again from its terms."""
        parts = [":".join(label(f) for f in term) for term in self.analysis.terms]
        right = " + ".join([*parts, *([] if self.analysis.intercept else ["-1"])]) or "1"
        return f"{written(self.analysis.outcome)} ~ {right.replace('+ -1', '- 1')}"

    @property
    def params(self) -> pd.Series[float]:
        """Coefficients."""
        return self._series(self.values["params"])

    def cov_params(self) -> pd.DataFrame:
        """Covariance of the coefficients."""
        return pd.DataFrame(self.values["cov_params"], index=self._names, columns=self._names)

    @property
    def bse(self) -> pd.Series[float]:
        """Standard errors."""
        return self._series(np.sqrt(np.diag(self.values["cov_params"])))

    @property
    def use_t(self) -> bool:
        """Whether p-values and intervals use Student's t."""
        estimated = FAMILIES[self.analysis.family].dispersion is None or self.analysis.scale == "X2"
        return estimated and self.analysis.robust is None

    def _beyond(self, size: Any) -> Any:
        """Probability that a statistic is further from 0, to both sides."""
        return 2 * (stdtr(self.df_resid, -size) if self.use_t else ndtr(-size))

    def _half(self, alpha: float) -> float:
        """How many standard errors an interval reaches to each side."""
        return float(stdtrit(self.df_resid, 1 - alpha / 2) if self.use_t else ndtri(1 - alpha / 2))

    @property
    def tvalues(self) -> pd.Series[float]:
        """Coefficients divided by their standard errors."""
        return self.params / self.bse

    @property
    def pvalues(self) -> pd.Series[float]:
        """Two-sided p-values."""
        return self._series(self._beyond(np.abs(self.tvalues)))

    def conf_int(self, alpha: float = 0.05) -> pd.DataFrame:
        """Confidence intervals, columns 0 and 1."""
        half = self._half(alpha) * self.bse
        return pd.DataFrame({0: self.params - half, 1: self.params + half})

    @property
    def df_resid(self) -> float:
        """Residual degrees of freedom."""
        return self._number("df_resid")

    @property
    def df_model(self) -> float:
        """Parameters, the intercept apart."""
        return len(self._names) - float(self.analysis.intercept)

    @property
    def scale(self) -> float:
        """The dispersion."""
        return self._number("scale")

    @property
    def deviance(self) -> float:
        return self._number("deviance")

    @property
    def null_deviance(self) -> float:
        return self._number("null_deviance")

    @property
    def pearson_chi2(self) -> float:
        return self._number("pearson_chi2")

    @property
    def llf(self) -> float:
        """Log-likelihood, as statsmodels: a gamma model's uses the estimated `scale`.

        R's is `llf_scaled(deviance / n)`.
        """
        return self._number("llf")

    def llf_scaled(self, scale: float) -> float:
        """Log-likelihood with a dispersion of one's choice."""
        observations = self.df_resid + len(self._names)
        return log_likelihood(
            self.analysis.family,
            self.values["likelihood"],
            deviance=self.deviance,
            weight=self._number("weight"),
            n=observations,
            scale=scale,
        )

    @property
    def aic(self) -> float:
        """-2 llf + 2 p, p without the dispersion, as statsmodels (R counts it)."""
        return -2 * self.llf + 2 * len(self._names)

    @property
    def bic(self) -> float:
        """-2 llf + p log(n)."""
        return float(-2 * self.llf + len(self._names) * np.log(self.df_resid + len(self._names)))

    @property
    def rsquared(self) -> float:
        """Share of the null deviance that the model takes away; for least squares, R squared."""
        return 1 - self.deviance / self.null_deviance

    @property
    def rsquared_adj(self) -> float:
        """R squared adjusted for the number of parameters."""
        freedom = self.df_resid + len(self._names) - float(self.analysis.intercept)
        return 1 - (1 - self.rsquared) * freedom / self.df_resid

    @property
    def fvalue(self) -> float:
        """F of the model against the null model."""
        return (self.null_deviance - self.deviance) / self.df_model / self.scale

    @property
    def f_pvalue(self) -> float:
        """p-value of `fvalue`."""
        return float(fdtrc(self.df_model, self.df_resid, max(self.fvalue, 0.0)))

    @property
    def converged(self) -> bool:
        """Always true: a fit that does not settle raises NotConverged instead."""
        return True

    @property
    def fit_history(self) -> dict[str, Any]:
        """Deviance and coefficients at each step."""
        history = self.values["history_params"]
        return {
            "iteration": len(history),
            "deviance": self.values["history_deviance"].tolist(),
            "params": list(history),
        }

    def __getattr__(self, name: str) -> NoReturn:
        if name in _NEED_ROWS:
            nearest = _NEED_ROWS[name]
            raise NeedsRows(f"{name!r} needs rows, and rows do not move; the nearest released thing is {nearest}")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    # ---- predictions and tests

    def _linear(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        offset: Expression | None = self.analysis.offset
        names = [n for n in [*term_columns(self.analysis.terms), *(offset.columns if offset else ())] if n != "partner"]
        if "partner" in term_columns(self.analysis.terms):
            raise StudyInvalid(
                "a model with 'partner' predicts for no other rows", remedy="leave partner out of the model"
            )
        rows = Rows.from_frame(self.scope.dataset, frame, names)
        x = self.analysis.design(self.scope).matrix(rows)
        return x, x @ self.values["params"] + (numbers(offset, rows) if offset is not None else 0.0)

    def predict(self, frame: pd.DataFrame) -> pd.Series[float]:
        """Means for the rows of your own frame; NaN where a column is missing.

        Raises: StudyInvalid for a missing column or an unknown level.
        """
        _, eta = self._linear(frame)
        mean = FAMILIES[self.analysis.family].fitted(LINKS[self.analysis.link], eta)
        return pd.Series(np.where(np.isnan(eta), np.nan, mean), index=frame.index)

    def get_prediction(self, frame: pd.DataFrame, alpha: float = 0.05) -> Prediction:
        """Means with standard errors and confidence limits."""
        x, eta = self._linear(frame)
        link = LINKS[self.analysis.link]
        error = np.sqrt(np.einsum("ij,jk,ik->i", x, self.values["cov_params"], x))
        half = self._half(alpha) * error
        ends = np.sort(np.stack([link.mean(eta - half), link.mean(eta + half)]), axis=0)
        columns = {"mean": link.mean(eta), "mean_se": error * np.abs(link.slope(eta))}
        columns |= {"mean_ci_lower": ends[0], "mean_ci_upper": ends[1]}
        return Prediction(pd.DataFrame(columns, index=frame.index))

    def wald_test(self, hypothesis: str | list[str] | npt.NDArray[Any]) -> WaldTest:
        """Test coefficients jointly against 0: names (one text, with commas, or a list) or a matrix of contrasts.

        Raises: StudyInvalid for a name that the model does not have.
        """
        matrix = self._contrasts(hypothesis)
        estimate = matrix @ self.values["params"]
        spread = matrix @ self.values["cov_params"] @ matrix.T
        statistic, df = max(float(estimate @ np.linalg.solve(spread, estimate)), 0.0), len(matrix)
        if self.use_t:
            return WaldTest(statistic / df, float(fdtrc(df, self.df_resid, statistic / df)), df, self.df_resid)
        return WaldTest(statistic, float(chdtrc(df, statistic)), df, None)

    def _contrasts(self, hypothesis: Any) -> npt.NDArray[np.float64]:
        if not isinstance(hypothesis, str | list):
            return np.atleast_2d(np.asarray(hypothesis, dtype=float))
        hypotheses = hypothesis.split(",") if isinstance(hypothesis, str) else hypothesis
        if any(not isinstance(name, str) for name in hypotheses):
            return np.atleast_2d(np.asarray(hypothesis, dtype=float))
        rows = []
        for text in hypotheses:
            name = text.partition("=")[0].strip()
            if name not in self._names:
                raise StudyInvalid(f"the model has no coefficient {name!r}", expected=f"one of {self._names}")
            rows.append([float(n == name) for n in self._names])
        return np.array(rows)

    # ---- to look at

    def to_frame(self) -> pd.DataFrame:
        """One row a coefficient; with odds, rate or mean ratios where the link makes them."""
        interval = self.conf_int()
        frame = pd.DataFrame(
            {
                "coef": self.params,
                "std err": self.bse,
                "t" if self.use_t else "z": self.tvalues,
                "P>|t|" if self.use_t else "P>|z|": self.pvalues,
                "[0.025": interval[0],
                "0.975]": interval[1],
            }
        )
        if self.analysis.link in ("logit", "log"):
            frame[self._ratio] = np.exp(self.params)
        return frame

    @property
    def _ratio(self) -> str:
        return "odds ratio" if self.analysis.link == "logit" else "ratio"

    def summary(self) -> Text:
        """A table as statsmodels prints one."""
        width = 78
        head = [
            ("Dep. variable", written(self.analysis.outcome), "No. observations", f"{self.nobs:,}"),
            ("Family", self.analysis.family, "Df residuals", f"{self.df_resid:g}"),
            ("Link", self.analysis.link, "Df model", f"{self.df_model:g}"),
            ("Covariance", self.analysis.robust or "nonrobust", "Scale", f"{self.scale:.6g}"),
            ("Partners", str(len(self.provenance["partners"])), "Log-likelihood", f"{self.llf:.6g}"),
            ("Steps", str(self.fit_history["iteration"]), "Deviance", f"{self.deviance:.6g}"),
            ("Noise", "none", "Pearson chi2", f"{self.pearson_chi2:.6g}"),
        ]
        lines = ["Generalized linear model, federated".center(width), "=" * width]
        lines += [f"{a + ':':<16}{b:>20}   {c + ':':<20}{d:>19}" for a, b, c, d in head]
        table = self.to_frame().to_string(float_format=lambda v: f"{v:.4f}").splitlines()
        return Text("\n".join([*lines, "=" * width, *table, "=" * width]))

    def __str__(self) -> str:
        return "\n".join([self.title(), self.formula, "", *str(self.to_frame().round(4)).splitlines()[:21]])

    __repr__ = __str__

    def plot(self, ax: Axes | None = None) -> Axes:
        """A forest plot: each coefficient (or ratio) with its 95 % interval, the intercept apart."""
        ax = axes(ax)
        names_shown = [n for n in self._names if n != "Intercept"]
        ratio = self.analysis.link in ("logit", "log")
        change = np.exp if ratio else np.asarray
        estimate, interval = change(self.params[names_shown]), change(self.conf_int().loc[names_shown])
        positions = np.arange(len(names_shown))[::-1]
        low, high = np.asarray(estimate) - np.asarray(interval)[:, 0], np.asarray(interval)[:, 1] - np.asarray(estimate)
        ax.errorbar(estimate, positions, xerr=[low, high], fmt="s", color="#1f5a7a", ecolor="#6a8fa5", capsize=3)
        ax.axvline(1.0 if ratio else 0.0, color="#888888", linewidth=1, linestyle="--")
        ax.set_yticks(positions, names_shown)
        if ratio:
            ax.set_xscale("log")
        ax.set_xlabel(f"{self._ratio if ratio else 'coefficient'}, 95 % interval")
        return ax
