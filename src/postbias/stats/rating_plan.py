"""How many ratings and labels an interval of a given width needs, and the cheapest mix of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import CONFIDENCE_LEVEL, Array
from postbias.stats.variance_components import GroupComponents

#: Fewest rated posts per group that a plan proposes: fewer give no trustworthy variance.
MIN_RATED_PER_GROUP = 20

# Points per dimension of the search grid.
_GRID = 300
# Parameters that the estimate tunes on the rated posts.
_TUNED = 2


@dataclass(frozen=True, slots=True)
class Quantity:
    """A mean or share of a group, or a difference between groups.

    Attributes:
        name: Its name.
        groups: Variance components of each group that it involves: one, or two for a difference.
    """

    name: str
    groups: tuple[GroupComponents, ...]

    def half_width(self, n_rated: Array, n_labels: Array, n_posts: int, raters: int) -> Array:
        """Predict the half-width of the 95% interval.

        Args:
            n_rated: Number of rated posts.
            n_labels: Number of labelled posts, rated ones among them; same shape.
            n_posts: Number of all posts.
            raters: Number of raters of each rated post.

        Returns:
            The half-width, of the same shape; infinite with fewer than `MIN_RATED_PER_GROUP` rated
            posts in a group.
        """
        from scipy.stats import t

        parts = [group.variance(n_rated, n_labels, n_posts, raters) for group in self.groups]
        smallest = n_rated * min(group.share for group in self.groups)
        freedom = np.maximum(smallest - 1, _TUNED + 1)
        left = freedom - _TUNED
        quantile = t.ppf((1 + CONFIDENCE_LEVEL) / 2, left)
        half_width = quantile * np.sqrt(np.sum(parts, axis=0) * freedom / left)
        return np.where(smallest >= MIN_RATED_PER_GROUP, half_width, np.inf)


@dataclass(frozen=True, slots=True)
class Goal:
    """A half-width that the 95% interval of a quantity should not exceed."""

    quantity: Quantity
    half_width: float


@dataclass(frozen=True, slots=True)
class Costs:
    """What ratings and labels cost, in any one unit, and what already exists.

    Attributes:
        rating: Cost of one rating of one post by one rater.
        label: Cost of one label of the teacher.
        n_posts: Number of all posts.
        existing_labels: Number of posts whose label has been paid for.
    """

    rating: float
    label: float
    n_posts: int
    existing_labels: int = 0

    def total(self, n_rated: Array, n_labels: Array, raters: int) -> Array:
        """Return the cost of rated posts and of labelled posts, of the shape of the numbers."""
        cost: Array = self.rating * raters * n_rated
        return cost + self.label * (n_labels - self.existing_labels)


@dataclass(frozen=True, slots=True)
class Mix:
    """A number of ratings and labels, and what it gives.

    Attributes:
        rated: Number of posts to rate.
        raters: Number of raters of each of them.
        labels: Number of labelled posts, rated and existing ones among them.
        cost: Its cost.
        half_widths: Predicted half-width by quantity.
    """

    rated: int
    raters: int
    labels: int
    cost: float
    half_widths: dict[str, float]


def find_cheapest_mix(goals: Sequence[Goal], costs: Costs, raters: Sequence[int]) -> Mix | None:
    """Find the cheapest numbers of rated and labelled posts that reach all goals.

    Args:
        goals: Half-widths to reach, for all posts or for subgroups.
        costs: Costs and number of posts.
        raters: Numbers of raters per post to choose from.

    Returns:
        The cheapest mix; `None` if even rating every post does not reach all goals.
    """
    best: Mix | None = None
    for k in raters:
        n_rated, n_labels = _grid(1, costs.n_posts), _grid(costs.existing_labels, costs.n_posts)
        for _refinement in range(3):
            found = _search(goals, costs, k, (n_rated, n_labels))
            if found is None:
                break
            if best is None or found.cost < best.cost:
                best = found
            n_rated, n_labels = (
                _between(grid, value)
                for grid, value in ((n_rated, found.rated), (n_labels, found.labels))
            )
    return best


def trace_cost_curve(
    quantity: Quantity, costs: Costs, raters: int, n_points: int = 30
) -> list[Mix]:
    """Trace the smallest half-width of a quantity that each cost can buy.

    Args:
        quantity: The quantity.
        costs: Costs and number of posts.
        raters: Number of raters of each rated post.
        n_points: Maximum number of points.

    Returns:
        Mixes by ascending cost and descending half-width; empty if there are too few posts.
    """
    n_rated, n_labels = _mesh(_grid(1, costs.n_posts), _grid(costs.existing_labels, costs.n_posts))
    width = quantity.half_width(n_rated, n_labels, costs.n_posts, raters)
    cost = costs.total(n_rated, n_labels, raters)
    order = np.lexsort((width, cost))
    order = order[np.isfinite(width[order])]
    is_best = np.diff(np.minimum.accumulate(width[order]), prepend=np.inf) < 0
    frontier = order[is_best]
    if not len(frontier):
        return []
    # Evenly on a logarithmic scale of the width.
    goals = np.geomspace(width[frontier[0]], width[frontier[-1]], n_points)
    chosen = np.unique(np.searchsorted(-width[frontier], -goals)).clip(max=len(frontier) - 1)
    return [
        Mix(int(n_rated[i]), raters, int(n_labels[i]), float(cost[i]), {quantity.name: width[i]})
        for i in frontier[chosen]
    ]


def _search(
    goals: Sequence[Goal], costs: Costs, raters: int, grids: tuple[Array, Array]
) -> Mix | None:
    """Return the cheapest mix of a grid that reaches all goals."""
    n_rated, n_labels = _mesh(*grids)
    if not len(n_rated):
        return None
    widths = [g.quantity.half_width(n_rated, n_labels, costs.n_posts, raters) for g in goals]
    is_reached = np.all([w <= g.half_width for w, g in zip(widths, goals, strict=True)], axis=0)
    cost = np.where(is_reached, costs.total(n_rated, n_labels, raters), np.inf)
    i = int(np.argmin(cost))
    if not np.isfinite(cost[i]):
        return None
    half_widths = {g.quantity.name: float(w[i]) for w, g in zip(widths, goals, strict=True)}
    return Mix(int(n_rated[i]), raters, int(n_labels[i]), float(cost[i]), half_widths)


def _grid(lowest: int, highest: int) -> Array:
    """Return whole numbers with about equal ratios, both ends among them."""
    lowest = max(lowest, 1)
    return np.unique(np.round(np.geomspace(lowest, max(lowest, highest), _GRID)))


def _between(grid: Array, value: int) -> Array:
    """Return whole numbers between the neighbours of a grid point."""
    i = int(np.searchsorted(grid, value))
    lo, hi = grid[max(i - 1, 0)], grid[min(i + 1, len(grid) - 1)]
    return np.unique(np.round(np.linspace(lo, hi, _GRID)))


def _mesh(n_rated: Array, n_labels: Array) -> tuple[Array, Array]:
    """Combine both grids: rated posts are labelled, so there are at least as many labels."""
    first, second = (x.ravel() for x in np.meshgrid(n_rated, n_labels, indexing="ij"))
    rows = first <= second
    return first[rows], second[rows]
