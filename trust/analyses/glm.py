"""Generalised linear models by iteratively reweighted least squares over sums.

Each step asks for the score and the information at public coefficients; the totals are those of the pooled rows, so
the fit is the pooled fit.  The null model is iterated in the same sums.
Source: McCullagh & Nelder 1989, section 2.5; robust errors: White 1980, MacKinnon & White 1985 (HC1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from trust.analyses.base import Analysis, Arrays, Ask, Run, Scope, Sum, Values, count, real
from trust.analyses.families import FAMILIES, LINKS, Family, Link, likelihood_parts, log_likelihood
from trust.analyses.moments import check_weights
from trust.analyses.normal_equations import gram, invert, reciprocal, solve
from trust.analyses.terms import Design, Term, group_columns, groupings, numbers, term_columns
from trust.canonical import Real
from trust.dataset.dataset import Column
from trust.dataset.expressions import Expression, Name, written
from trust.dataset.rows import Rows
from trust.errors import NotConverged, Refused, StudyInvalid
from trust.privacy.rules import EffectiveRecords, Groups, Leverage, Organisations, ParametersPerRecord, ResidualDf

__all__ = ["Glm"]

Floats = npt.NDArray[np.float64]
_MOST_STEPS = 40
_SETTLED_DECREMENT = 1e-22
"""Squared Newton decrement, in units of the dispersion: coefficients are then within 1e-11 standard errors."""
_LEVERAGE = (1 / 3, 0.9)
"""The most that one person may weigh in a fit: a third, as a total of INSEE's is over three units at least; or twice
the mean, 2 p/n, where few records make that more (Belsley, Kuh & Welsch 1980, section 2.1); never above 0.9."""


@dataclass(frozen=True)
class _Ready:
    """Complete cases at a node."""

    x: Floats
    y: Floats
    weights: Floats
    offset: Floats
    groups: npt.NDArray[np.int64]
    partners: npt.NDArray[np.int64]
    rows: Rows


class Glm(Analysis):
    """`outcome ~ terms`, a family and a link; complete cases."""

    title: ClassVar[str] = "generalised linear model"

    kind: Literal["glm"] = "glm"
    outcome: Expression
    terms: tuple[Term, ...]
    intercept: bool = True
    family: Literal["gaussian", "binomial", "poisson", "gamma"] = "gaussian"
    link: Literal["identity", "log", "logit", "probit", "inverse", "cloglog"]
    weights: Expression | None = None
    weights_are: Literal["frequency", "precision"] = "frequency"
    offset: Expression | None = None
    ridge: Real = Field(default=0.0, ge=0)
    robust: Literal["HC0", "HC1"] | None = None
    scale: Literal["X2"] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Glm:
        if self.link not in FAMILIES[self.family].links:
            links = ", ".join(FAMILIES[self.family].links)
            raise ValueError(f"link {self.link!r} does not go with family {self.family!r}; it takes {links}")
        if not self.terms and not self.intercept:
            raise ValueError("a model without any term")
        if self.robust and self.ridge:
            raise ValueError("robust errors with ridge are not defined here; leave one out")
        return self

    # ---- before any row

    def reads(self) -> tuple[str, ...]:
        extra = [e for e in (self.outcome, self.weights, self.offset) if e is not None]
        return tuple(dict.fromkeys([*(c for e in extra for c in e.columns), *term_columns(self.terms)]))

    def groups(self) -> tuple[str, ...]:
        return tuple(n for n in term_columns(self.terms) if n == "partner")

    def design(self, scope: Scope) -> Design:
        """The columns of the model."""
        return Design(self.terms, self.intercept, scope)

    def plan(self, scope: Scope) -> dict[str, Sum]:
        self._check(scope)
        design = self.design(scope)
        p = design.width
        outcomes = 2 if self.family == "binomial" else sum(g.levels for g in groupings(self.outcome, scope))
        groups = design.group_count * (outcomes if outcomes and design.is_table else 1) + outcomes
        keeps, at_node = ("working",), (EffectiveRecords(of="working"),)
        on_total = (
            *(() if scope.partner_may_be_shown else (Organisations(of="partners"),)),
            Groups(of="groups"),
            ParametersPerRecord(parameters=p, of="n"),
            ResidualDf(parameters=p, of="n"),
        )
        sums = {
            "start": Sum(
                gives=(
                    count("n"),
                    count("groups", groups),
                    count("partners", groups + 1),
                    real("weight"),
                    real("score", p),
                    real("information", p, p),
                    real("null", 2),
                ),
                keeps=keeps,
                rules=at_node + on_total,
            ),
            "step": Sum(
                takes=(real("beta", p), real("null")),
                gives=(
                    real("score", p),
                    real("information", p, p),
                    real("deviance"),
                    real("pearson"),
                    real("likelihood", 2),
                    real("null", 3),
                ),
                keeps=keeps,
                rules=at_node,
                at_most=_MOST_STEPS,
            ),
        }
        if scope.protections.persons > 1:
            sums["leverage"] = Sum(
                takes=(real("beta", p), real("information", p, p), real("most")),
                gives=(count("above"),),
                keeps=keeps,
                rules=(*at_node, Leverage(of="above")),
            )
        if self.robust:
            sums["meat"] = Sum(takes=(real("beta", p),), gives=(real("meat", p, p),), keeps=keeps, rules=at_node)
        return sums

    def _check(self, scope: Scope) -> None:
        for name in [*term_columns(self.terms)]:
            if name != "partner":
                scope.dataset.column(name)
        for expression in (self.outcome, self.weights, self.offset):
            if expression is not None and not self._two_levels(scope, expression):
                for name in expression.columns:
                    scope.numeric(name)
        group_columns(self.terms, scope)
        check_weights(scope, self.weights)
        if not self._two_levels(scope):
            low, high = self.outcome.interval(scope.dataset)
            family = FAMILIES[self.family]
            impossible = (self.family == "binomial" and (low < 0 or high > 1)) or high < max(family.lowest, -1e300)
            if impossible or (self.family == "poisson" and low < 0):
                raise StudyInvalid(
                    f"outcome {written(self.outcome)} of family {self.family!r} may be outside its range",
                    expected=f"values of {family.outcomes}, by the bounds in the dataset",
                    remedy="declare the bounds in the dataset, or use another family",
                )

    def _two_levels(self, scope: Scope, expression: Expression | None = None) -> Column | None:
        """The outcome's column where it is a category of two levels, the second of which is the event."""
        outcome = self.outcome if expression is None else expression
        if expression is not None and expression is not self.outcome:
            return None
        if not isinstance(outcome, Name):
            return None
        column = scope.dataset.column(outcome.column)
        if not column.categorical:
            return None
        if len(column.values) != 2:
            raise StudyInvalid(f"outcome {column.name!r} has {len(column.values)} levels", expected="two, or a number")
        return column

    # ---- at a node

    def prepare(self, scope: Scope, rows: Rows) -> _Ready:
        design = self.design(scope)
        two = self._two_levels(scope)
        x = design.matrix(rows)
        y = rows.numeric(two.name) if two else numbers(self.outcome, rows)
        weights = numbers(self.weights, rows) if self.weights is not None else np.ones(rows.n)
        offset = numbers(self.offset, rows) if self.offset is not None else np.zeros(rows.n)
        complete = ~np.isnan(x).any(axis=1) & ~np.isnan(y) & ~np.isnan(weights) & ~np.isnan(offset)
        complete_rows = rows.persons(complete)
        if not complete.all():
            x, y, weights, offset = np.asfortranarray(x[complete]), y[complete], weights[complete], offset[complete]
        if not bool(np.all(FAMILIES[self.family].possible(y))):
            text = f"every outcome in the cohort is {FAMILIES[self.family].outcomes}, as family {self.family!r} needs"
            raise Refused(
                "outcome-range", text, remedy="restrict the cohort to possible outcomes, or use another family"
            )
        inside = Rows(len(y), {}, None if rows.person is None else rows.person[complete])
        cells = [cell[complete] for cell in design.groups(rows)]
        if self.family == "binomial":
            outcomes = [y < 0.5, y >= 0.5]
        else:
            group_codes = [(g.codes(rows)[complete], g.levels) for g in groupings(self.outcome, scope)]
            outcomes = [codes == code for codes, levels in group_codes for code in range(levels)]
        if outcomes and design.is_table:
            cells = [cell & outcome for cell in cells for outcome in outcomes]
        persons = np.array([inside.persons(cell) for cell in [*cells, *outcomes]], dtype=np.int64)
        partners = np.array([complete_rows > 0, *(persons > 0)], dtype=np.int64)
        return _Ready(x, y, weights, offset, persons, partners, inside)

    def local(self, scope: Scope, ready: _Ready, ask: Ask) -> Arrays:
        family, link = FAMILIES[self.family], LINKS[self.link]
        if ask.sum == "start":
            return self._start(ready, family, link)
        eta = ready.x @ ask.values["beta"] + ready.offset
        mean, residual, working = _scores_at(family, link, eta, ready)
        if ask.sum == "leverage":
            leverages = working * np.sum((ready.x @ invert(ask.values["information"])) * ready.x, axis=1)
            above = ready.rows.of_persons(leverages) >= float(ask.values["most"]) * (1 - 1e-9)
            return {"above": np.array(np.count_nonzero(above)), "working": ready.rows.of_persons(working)}
        if ask.sum == "meat":
            scores = ready.x * residual[:, None]
            factor = 1.0 if self.weights_are == "precision" else reciprocal(ready.weights)
            return {
                "meat": scores.T @ (scores * np.reshape(factor, (-1, 1))),
                "working": ready.rows.of_persons(working),
            }
        null_eta = np.full(len(ready.y), float(ask.values["null"])) * self.intercept + ready.offset
        null_mean, null_residual, null_working = _scores_at(family, link, null_eta, ready)
        with np.errstate(all="ignore"):
            pearson = float(ready.weights @ ((ready.y - mean) ** 2 / family.variance(mean)))
            deviances = [float(ready.weights @ family.deviance(ready.y, m)) for m in (mean, null_mean)]
        return {
            "score": ready.x.T @ residual,
            "information": gram(ready.x, working),
            "deviance": np.array(deviances[0]),
            "pearson": np.array(pearson),
            "likelihood": likelihood_parts(self.family, ready.y, mean, ready.weights),
            "null": np.array([null_residual.sum(), null_working.sum(), deviances[1]]),
            "working": ready.rows.of_persons(working),
        }

    def _start(self, ready: _Ready, family: Family, link: Link) -> Arrays:
        mean = family.start(ready.y, ready.weights)
        with np.errstate(all="ignore"):
            eta = link.of_mean(np.clip(mean, family.lowest, family.highest))
        eta = np.where(np.isfinite(eta), eta, 0.0)
        _, residual, working = _scores_at(family, link, eta, ready)
        target = working * (eta - ready.offset) + residual
        return {
            "n": np.array(len(ready.y)),
            "groups": ready.groups,
            "partners": ready.partners,
            "weight": np.array(ready.weights.sum()),
            "score": ready.x.T @ target,
            "information": gram(ready.x, working),
            "null": np.array([target.sum(), working.sum()]),
            "working": ready.rows.of_persons(working),
        }

    # ---- where the totals are known

    def run(self, scope: Scope) -> Run:
        names = self.design(scope).names
        start = yield Ask("start")
        n, weight = float(start["n"]), float(start["weight"])
        observations = weight if self.weights_are == "frequency" else n
        penalty = self._penalty(len(names))
        beta = solve(start["information"] + np.diag(penalty), start["score"], names)
        null = float(start["null"][0] / start["null"][1]) if self.intercept else 0.0
        history: list[tuple[float, Floats]] = []
        last: tuple[float, Floats] | None = None
        settled = float("inf")
        for _ in range(_MOST_STEPS):
            total = yield Ask("step", {"beta": beta, "null": np.array(null)})
            objective = float(total["deviance"]) + float(penalty @ beta**2)
            if last is not None and objective > last[0] + 1e-8 * (abs(last[0]) + 0.1) and settled > 1e-12:
                beta = (beta + last[1]) / 2
                continue
            history.append((float(total["deviance"]), beta))
            information = total["information"] + np.diag(penalty)
            move = solve(information, total["score"] - penalty * beta, names)
            null_move = float(total["null"][0] / total["null"][1]) if self.intercept and total["null"][1] > 0 else 0.0
            dispersion = 1.0 if FAMILIES[self.family].dispersion else max(float(total["pearson"]) / n, 1e-300)
            null_scale = 1.0 if FAMILIES[self.family].dispersion else max(float(total["null"][2]) / n, 1e-300)
            settled_before, settled = settled, float(move @ information @ move) / dispersion
            null_settled = null_move**2 * float(total["null"][1]) / null_scale
            rounding = bool((np.abs(move) <= 8 * np.finfo(float).eps * np.abs(beta)).all())
            stalled = settled < 1e-16 and settled > settled_before / 4
            if (settled <= _SETTLED_DECREMENT or rounding or stalled) and null_settled <= 1e-20:
                final = beta + move
                if scope.protections.persons > 1:
                    most = np.clip(2 * len(final) / n, *_LEVERAGE)
                    yield Ask("leverage", {"beta": final, "information": information, "most": np.array(most)})
                meat = (yield Ask("meat", {"beta": final}))["meat"] if self.robust else None
                return self._result(names, final, total, meat, (n, weight, observations), history)
            last = objective, beta
            beta, null = beta + move, null + null_move
        raise NotConverged(
            f"a {self.family} model did not settle in {_MOST_STEPS} steps",
            remedy="a column may predict the outcome fully (separation): leave it out, merge its levels, or set ridge"
            if self.family == "binomial"
            else "use another link, or rescale the columns",
        )

    def _penalty(self, p: int) -> Floats:
        penalty = np.full(p, self.ridge)
        if self.intercept:
            penalty[0] = 0.0
        return penalty

    def _result(
        self,
        names: tuple[str, ...],
        beta: Floats,
        total: Arrays,
        meat: Floats | None,
        size: tuple[float, float, float],
        history: list[tuple[float, Floats]],
    ) -> Values:
        n, weight, observations = size
        p = len(beta)
        df_resid = observations - p
        deviance, pearson = float(total["deviance"]), float(total["pearson"])
        dispersion_known = FAMILIES[self.family].dispersion
        scale = pearson / df_resid if dispersion_known is None or self.scale == "X2" else dispersion_known
        bread = invert(total["information"] + np.diag(self._penalty(p)))
        # with ridge the spread of the penalised estimate, which is not the inverse of the penalised information
        covariance = scale * (bread @ total["information"] @ bread if self.ridge else bread)
        if meat is not None:
            covariance = bread @ meat @ bread * (observations / df_resid if self.robust == "HC1" else 1.0)
        parts = total["likelihood"]
        for_likelihood = scale if dispersion_known is None else dispersion_known
        likelihood = log_likelihood(
            self.family, parts, deviance=deviance, weight=weight, n=observations, scale=for_likelihood
        )
        return {
            "names": np.array(names),
            "params": beta,
            "cov_params": (covariance + covariance.T) / 2,
            "nobs": np.array(n),
            "weight": np.array(weight),
            "df_resid": np.array(df_resid),
            "scale": np.array(scale),
            "deviance": np.array(deviance),
            "null_deviance": np.array(float(total["null"][2])),
            "pearson_chi2": np.array(pearson),
            "likelihood": np.asarray(parts),
            "llf": np.array(likelihood),
            "history_deviance": np.array([d for d, _ in history]),
            "history_params": np.array([b for _, b in history]),
        }


def _scores_at(family: Family, link: Link, eta: Floats, ready: _Ready) -> tuple[Floats, Floats, Floats]:
    """Mean, weighted working residual `w (y - mu) mu' / V`, and working weight `w mu'^2 / V`, each of shape (n,)."""
    mean = family.fitted(link, eta)
    with np.errstate(all="ignore"):
        slope = link.slope(eta)
        working = ready.weights * slope**2 / family.variance(mean)
        residual = ready.weights * (ready.y - mean) * slope / family.variance(mean)
    return mean, np.nan_to_num(residual, posinf=0.0, neginf=0.0), np.nan_to_num(working, posinf=0.0)
