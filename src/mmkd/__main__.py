"""`python -m mmkd`, as torchrun starts it."""

from mmkd.cli import main

if __name__ == "__main__":
    main()
