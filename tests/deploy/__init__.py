"""The configurations of deploy/, as they would be installed."""
