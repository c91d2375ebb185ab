"""The environment fingerprint: which libraries a model runs with. Called once when training and once when serving.

Two fingerprints are compared on the keys they share, so a training process that has more imported says nothing false.
"""

import importlib.metadata
import platform
import sys
from collections.abc import Iterable

MODEL_PACKAGES: dict[str, str] = {
    # module -> distribution; those whose behaviour changes a model's input or output
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
    """Python's version and the versions of the ``packages`` (distribution names) that are installed.

    Without ``packages``: of those known to matter to models that this process has imported so far.
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
