"""Settings of the whole suite."""

import importlib
import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
importlib.import_module("kfsl")  # Before TensorFlow, whose kernels it chooses.


def pytest_generate_tests(metafunc) -> None:
    if metafunc.cls is not None and hasattr(metafunc.cls, "variants"):
        from tests.contract import pytest_generate_tests_for

        pytest_generate_tests_for(metafunc)


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def _graphs_as_commands_have_them():
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
