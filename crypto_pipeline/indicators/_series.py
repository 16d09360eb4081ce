"""The type of an indicator's values."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
"""One value a candle; NaN during the warm-up."""
