"""The one error of the lab: something of this machine does not let the site come up or stay up."""


class LabError(RuntimeError):
    """The lab cannot do what was asked; the message says what to change on this machine."""
