"""What a server does before it answers."""

import gc

from services.controller.serve import settle_heap


def test_what_is_loaded_is_not_gone_through_again() -> None:
    try:
        settle_heap()
        assert gc.get_freeze_count() > 10_000 and len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()
