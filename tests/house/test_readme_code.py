"""The Python that the README files show runs as it stands."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "experiments/README.md", "nco/README.md", "mpl/README.md")


@pytest.mark.parametrize("name", READMES)
def test_python_in_a_readme_runs(name):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE
    )
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})
