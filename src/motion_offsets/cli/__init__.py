"""The command ``motion-offsets``."""


def main() -> None:
    """Entry point of the console script."""
    from .app import main as run

    run()
