"""The command `monailabel`, which MONAI Label's wheel of 0.8.5 holds but does not install."""


def main() -> None:
    """Run MONAI Label's own command line, as `python -m monailabel.main` does."""
    from monailabel.main import Main

    Main().run()
