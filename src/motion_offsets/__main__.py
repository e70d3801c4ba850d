"""``python -m motion_offsets`` is the command ``motion-offsets``."""

from .cli.app import main

if __name__ == "__main__":
    main()
