"""Comparing results: which paths of two results differ, and where their bytes first do."""

from tarpon.comparison.compare import compare_results
from tarpon.comparison.views import Comparison, PathDifference, ResultComparison

__all__ = ["Comparison", "PathDifference", "ResultComparison", "compare_results"]
