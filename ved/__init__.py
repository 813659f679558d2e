"""The command `ved`: one command line over all packages."""

__version__ = "0.1.0"
