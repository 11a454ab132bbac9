"""Programs that tests need and that no Python package brings: Chromium, Node.js."""

import os
import shutil

import pytest


def program(*names: str) -> str:
    """The path of the first that is there. Without any, tests are left out, save in CI, which installs them."""
    for name in names:
        if path := shutil.which(name):
            return path
    reason = f"there is no {names[0]} on this machine"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
