"""Packages that only some parts need, and the command that installs a missing one."""

from __future__ import annotations

import importlib.util

from ..errors import BadInputError

# What each optional module comes in, with the versions of pyproject.toml.
PACKAGES = {
    "accelerate": "accelerate>=1.3",
    "cv2": "opencv-python-headless>=4.10",
    "datasets": "datasets>=4",
    "gradio": "gradio>=6",
    "matplotlib": "matplotlib>=3.9",
    "mcp": "mcp>=1.21,<2",
    "onnx": "onnx>=1.18",
    "onnxruntime": "onnxruntime>=1.20",
    "onnxscript": "onnxscript>=0.5",
    "pillow_heif": "pillow-heif>=0.18",
    "pytorch_msssim": "pytorch-msssim>=1.0",
    "skimage": "scikit-image>=0.25",
}


def require(user: str, *modules: str) -> None:
    """Refuse to go on without optional modules.

    Args:
        user: what needs them, a noun.
        modules: names to import, keys of :data:`PACKAGES`.

    Raises:
        BadInputError: names the packages that are missing and the command that installs them.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        names = " and ".join(PACKAGES[module].partition(">")[0] for module in missing)
        raise BadInputError(f"{user} needs {names}: {pip_install(*missing)}")


def pip_install(*modules: str) -> str:
    """The command that installs optional modules, whether this package lies in a checkout or came as a wheel: it names
    the packages themselves, as no index has an extra of a package that was installed from a file."""
    return "pip install " + " ".join(f'"{PACKAGES[module]}"' for module in modules)
