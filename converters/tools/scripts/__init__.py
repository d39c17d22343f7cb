"""What runs inside tool environments: plain scripts that know nothing of this package, for Python 3.9 and newer."""
