"""Write the generated pages of the documentation: `python docs/generator`. With --check, list those that are stale."""

import sys

from generated import stale, write_all

if __name__ == "__main__":
    if "--check" not in sys.argv:
        write_all()
    elif names := stale():
        sys.exit(f"stale: {', '.join(names)}; run 'make docs-pages'")
