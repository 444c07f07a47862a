"""``python -m taskyard``, and the command ``taskyard``: the command line, over the programs that the application builds."""

import sys
from collections.abc import Callable

from taskyard.cli.programs import Listening, Serving, Working
from taskyard.cli.root import main as run


class Application:
    """The programs of the application, imported when one of them is wanted: ``taskyard list`` must not wait for a server."""

    def serve(self, serving: Serving, listening: Callable[[Listening], None]) -> int:
        from taskyard.app import serve

        return serve(serving, listening)

    def work(self, working: Working, ready: Callable[[str], None]) -> int:
        from taskyard.app import work

        return work(working, ready)


def main() -> None:
    sys.exit(run(Application()))


if __name__ == "__main__":
    main()
