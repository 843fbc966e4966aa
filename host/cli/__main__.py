"""``python -m celosia.host.cli``."""

from celosia.host.cli import main

main()
