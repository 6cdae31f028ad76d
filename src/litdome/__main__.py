"""``python -m litdome``."""

from litdome.cli import main

main()
