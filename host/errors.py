"""What goes wrong on the host, as one sentence a user can act on."""


class CelosiaError(ValueError):
    """A user's mistake or a failed device: the message is one sentence (what, where, what would be right).

    The command line prints the message without a traceback and exits with code 2.
    """


class DeviceError(CelosiaError):
    """The device refused a packet, answered nonsense, or is not the one the program was compiled for."""


class LinkError(DeviceError):
    """The link to the device failed: what the device has done of the last exchange is unknown."""


class StreamError(LinkError):
    """A packet of a run's streams was lost, which cannot be repeated: the run has to start again."""


class RestartError(LinkError):
    """The device has started anew since it was opened: what was loaded is gone."""


class CompileError(CelosiaError):
    """The network does not fit the accelerator."""
