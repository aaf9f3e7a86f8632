"""The two ways a piece of work ends early: it cannot be done, or somebody stopped it."""


class Refused(ValueError):
    """What was asked for cannot be done. The message is one line and says what to do instead."""


class Stopped(Exception):
    """The caller's stop event was set. The model is as it was before."""
