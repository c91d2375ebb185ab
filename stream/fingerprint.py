"""The environment fingerprint: the libraries that a model runs with. Taken once in training and once in serving.

Two fingerprints are compared only on their common keys, so further imports in training cause no false difference.
"""

import importlib.metadata
import platform
import sys
from collections.abc import Iterable

MODEL_PACKAGES: dict[str, str] = {
    # module -> distribution, of libraries that can change the input or the output of a model
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "pyarrow",
    "sklearn": "scikit-learn",
    "river": "river",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "torch": "torch",
    "torchvision": "torchvision",
    "tensorflow": "tensorflow",
    "keras": "keras",
    "jax": "jax",
    "onnxruntime": "onnxruntime",
    "transformers": "transformers",
    "tokenizers": "tokenizers",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "category_encoders": "category-encoders",
    "feature_engine": "feature-engine",
}


def fingerprint(packages: Iterable[str] | None = None) -> dict[str, str]:
    """The versions of Python and of those ``packages`` (distribution names) that are installed.

    Default for ``packages``: those of ``MODEL_PACKAGES`` that this process has imported so far.
    """
    if packages is None:
        packages = [package for module, package in MODEL_PACKAGES.items() if module in sys.modules]
    found = {"python": platform.python_version()}
    for package in sorted(packages):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
