"""Put on a service's PYTHONPATH: makes its main thread, and so its event loop, stand still at a signal.

Python runs a signal's handler between two steps of the loop: SIGUSR1 is what a bug that never yields would be, until
SIGUSR2. Other threads go on.
"""

import os
import signal


def _stand_still(_number: int, _frame: object) -> None:
    os.write(2, b"standing still\n")
    signal.sigwait({signal.SIGUSR2})


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
signal.signal(signal.SIGUSR1, _stand_still)
