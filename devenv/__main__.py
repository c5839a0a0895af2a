"""``python -m devenv`` is the ``devenv`` command."""

from devenv.cli.main import main

main()
