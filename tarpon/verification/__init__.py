"""Verifying results: whether they are what their nodes have signed, with keys that were theirs then."""

from tarpon.verification.folder import verify_folder
from tarpon.verification.verify import verify_results
from tarpon.verification.views import ResultsVerification, ResultVerification, VerificationProblem

__all__ = ["ResultVerification", "ResultsVerification", "VerificationProblem", "verify_folder", "verify_results"]
