"""What goes wrong on the host, as one sentence a user can act on."""


class CelosiaError(ValueError):
    """A user's mistake or a failed device: the message is one sentence (what, where, what would be right).

    The command line prints the message without a traceback and exits with code 2.
    """


class DeviceError(CelosiaError):
    """The device refused a packet, answered nonsense, or is not the one the program was compiled for."""


class CompileError(CelosiaError):
    """The network does not fit the accelerator."""
