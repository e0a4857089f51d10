"""The Python in docs/serving.md, section by section: what it needs differs."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "serving.md"


def recipes(heading: str) -> list[str]:
    """The blocks of Python under a heading.

    Args:
        heading: str.

    Returns:
        list of str, one at least.
    """
    section = DOCUMENT.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    found = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    assert found, heading
    return found


def headings() -> set[str]:
    """The headings that have Python under them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = re.split(r"\n## ", text)[1:]
    return {section.split("\n")[0] for section in sections if "```python" in section}
