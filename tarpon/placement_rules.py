"""The name by which programs import what places results; it is in tarpon.results."""

from shared.extraction.placement_rules import PlacementRules

__all__ = ["PlacementRules"]
