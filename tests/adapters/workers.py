"""What the workers of `test_tune_engine` run; a module of its own, since they import it."""

from nas.train.worker import Workshop


def broken_workshop(error: Exception) -> Workshop:
    """Raises."""
    raise error
