"""Files that are generated from a text with places to fill in."""

import re
from importlib import resources


def fill(name: str, **values: object) -> str:
    """Return the text of a file in the folder ``templates``, with each ``<<key>>`` replaced by the value of that key.

    Raises
    ------
    KeyError
        A value is missing.
    """
    text = (resources.files("celosia.host.deliverable") / "templates" / name).read_text(encoding="utf-8")
    return re.sub(r"<<(\w+)>>", lambda match: str(values[match[1]]), text)
