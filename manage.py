#!/usr/bin/env python
"""Command line of the product: `python manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "csms.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        sys.exit(f"{error}. Run `make install` and use .venv/bin/python, or install requirements/base.txt.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # What the settings say is a sentence for the person at the terminal; where it was raised helps nobody there.
        sys.exit(str(error))


if __name__ == "__main__":
    main()
