"""The Python that the README files show runs as it stands, but for the number of samples."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "experiments/README.md", "nco/README.md", "mpl/README.md")

SAMPLES, FEWER = "num_samples=1280", "num_samples=128"  # ten chunks, one

SAMPLES, FEWER = "num_samples=1280", "num_samples=128"  # ten chunks, one


@pytest.mark.parametrize("name", READMES)
def test_python_in_a_readme_runs(name):
    text = (ROOT / name).read_text()
    assert name != "README.md" or SAMPLES in text
    blocks = re.findall(
        r"^```python\n(.*?)^```", text.replace(SAMPLES, FEWER), re.DOTALL | re.MULTILINE
    )
    assert blocks
    for block in blocks:
        exec(compile(block, name, "exec"), {})
