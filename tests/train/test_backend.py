import threading

import pytest
import torch

from nas.train.backend import backend_of, standing_for


def test_a_tensor_is_where_it_is() -> None:
    with standing_for("cuda"):
        assert backend_of(torch.zeros(1)) == "cpu"


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_tensor_without_storage_stands_for_another(backend: str) -> None:
    x = torch.zeros(1, device="meta")
    with standing_for("mps"):
        with standing_for(backend):
            assert backend_of(x) == backend
        assert backend_of(x) == "mps"
    assert backend_of(x) == "meta"


def test_other_threads_do_not_see_it() -> None:
    found: list[str] = []
    with standing_for("cuda"):
        thread = threading.Thread(target=lambda: found.append(backend_of(torch.zeros(1, device="meta"))))
        thread.start()
        thread.join()
    assert found == ["meta"]
