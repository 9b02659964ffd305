"""``python -m dp_ops`` prints the folders that compilers ask for; ``python -m dp_ops cmake`` prints one of them."""

from __future__ import annotations

import sys

from dp_ops import __version__, cmake_dir, include_dir, library_dir, pkgconfig_dir

FOLDERS = {"include": include_dir, "lib": library_dir, "cmake": cmake_dir, "pkgconfig": pkgconfig_dir}


def main(arguments: list[str]) -> int:
    """Print all folders, or those that are named."""
    unknown = [name for name in arguments if name not in FOLDERS]
    if unknown:
        print(f"{unknown[0]!r} is no folder of dp-ops. Known: {', '.join(FOLDERS)}", file=sys.stderr)
        return 2
    if arguments:
        print(*(FOLDERS[name]() for name in arguments), sep="\n")
        return 0
    print(f"dp-ops {__version__}")
    for name, folder in FOLDERS.items():
        print(f"{name + ':':<11}{folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
