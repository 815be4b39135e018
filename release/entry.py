"""What the executable of a bundle runs: the program, with the environment that the user has."""

import os
import sys


def restore_environment() -> None:
    """Take back what PyInstaller's bootloader has set: it would reach credential plugins, and iptables."""
    for name in [name for name in os.environ if name.startswith("_PYI_")]:
        del os.environ[name]
    home, _, before = os.environ.get("LD_LIBRARY_PATH", "").partition(":")
    if home != sys._MEIPASS:  # type: ignore[attr-defined]  # noqa: SLF001 - PyInstaller's name for the bundle's folder
        return
    if before:
        os.environ["LD_LIBRARY_PATH"] = before
        os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    else:
        del os.environ["LD_LIBRARY_PATH"]


def main() -> int:
    restore_environment()
    if sys.argv[1:2] == ["--lab-agent"]:  # by `kernel.Lab`, which has no interpreter to run here
        from kubectl_fsm.netfilter.lab import agent  # noqa: PLC0415 - only then

        agent.main(int(sys.argv[2]))
        return 0
    from kubectl_fsm.cli import main as program  # noqa: PLC0415 - in the restored environment

    return program()


if __name__ == "__main__":
    sys.exit(main())
