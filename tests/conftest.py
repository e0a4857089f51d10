"""Settings of the whole suite."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")


def pytest_generate_tests(metafunc) -> None:
    if metafunc.cls is not None and hasattr(metafunc.cls, "variants"):
        from tests.contract import pytest_generate_tests_for

        pytest_generate_tests_for(metafunc)
