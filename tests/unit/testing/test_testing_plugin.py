from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_other_runs_import_nothing_of_it(tmp_path: Path) -> None:
    """The plugin is loaded wherever devenv is installed: it must cost such runs nothing."""
    (tmp_path / "test_other.py").write_text(
        "import sys\ndef test_other():\n    heavy = {'docker', 'openstack', 'pydantic', 'yaml',"
        " 'devenv.environment', 'devenv.nodes', 'devenv.core'}\n"
        "    assert 'devenv.testing.plugin' in sys.modules\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
         "--rootdir", tmp_path, tmp_path],
        capture_output=True, text=True, check=False,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
             "PYTEST_PLUGINS": "devenv.testing.plugin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "figures" not in done.stdout
