"""Writes the generated pages: `python -m reference`."""

from reference import FOLDER, pages

for name, text in pages().items():
    (FOLDER / name).write_text(text)
