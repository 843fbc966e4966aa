"""What goes wrong with models, as one sentence a user can act on."""

from celosia.host.errors import CelosiaError


class ModelError(CelosiaError):
    """A model file, a layer or a network cannot be used as it is."""
