"""The daemons of screener: thin roles around the library's engine."""

from importlib.metadata import version

import screener

__version__ = version("screenerd")

if screener.__version__ != __version__:
    raise ImportError(
        f"screenerd {__version__} needs screener {__version__}, not {screener.__version__}: "
        f"pip install screener=={__version__}"
    )
