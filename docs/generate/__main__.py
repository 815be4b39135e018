"""`make docs`."""

from docs.generate import FILES, current

for file, page in FILES.items():
    file.write_text(page(current(file)), encoding="utf-8")
