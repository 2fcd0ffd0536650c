"""Why an update ends before its time; the codes are those of docs/protocol.md."""


class UpdateFailed(Exception):
    """FAILED, with a code as `error`."""

    def __init__(self, code, why=""):
        super().__init__(why or code)
        self.code = code


class NotNow(Exception):
    """DEFERRED: the device has something better to do, or needs a new notice."""

    def __init__(self, code, seconds=None):
        super().__init__(code)
        self.code = code
        self.seconds = seconds  # until it may be asked again; None: as long as is usual


class Recalled(Exception):
    """The operator took the update back."""


class Superseded(Exception):
    """Another notice has arrived; it is worked on instead."""

    def __init__(self, payload):
        super().__init__()
        self.payload = payload
