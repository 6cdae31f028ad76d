"""colour-science as ``colour``, imported so that it changes nothing for other tests.

Where matplotlib is not installed it leaves mocks of it among the modules, on which transformers fails.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any
from unittest.mock import Mock


def _imported() -> Any:
    held = set(sys.modules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot plot
        import colour
    for name in set(sys.modules) - held:
        if isinstance(sys.modules[name], Mock):
            del sys.modules[name]
    return colour


colour = _imported()
