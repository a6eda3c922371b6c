"""Imported by the server process of `faults` alone, which forks while it does nothing else, as LanceDB advises."""

import warnings

warnings.filterwarnings("ignore", message="lancedb fork support")
