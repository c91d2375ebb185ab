"""The public names of this package, for people who write a detector of their own: see docs/detectors.md."""

from detectors.sequential.plugins import FeatureDetector, detector_factory

__all__ = ["FeatureDetector", "detector_factory"]
