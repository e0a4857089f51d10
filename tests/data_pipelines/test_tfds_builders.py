"""What TFDS needs and does not have is told before anything is downloaded."""

import pytest

from data_pipelines.datasets import tfds_builders
from data_pipelines.datasets.tfds_builders import stock_builder


@pytest.fixture(autouse=True)
def _nothing_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))


def test_a_module_that_is_missing_is_named_with_what_brings_it(monkeypatch):
    def network(*_, **__):
        raise AssertionError("nothing is asked of the network")

    monkeypatch.setattr(tfds_builders, "require_network", network)
    with pytest.raises(ValueError, match=r"TFDS needs a-b to read birds: pip install a-b\. Or giv"):
        stock_builder("birds", "example.org", {"no_such_module": "a-b"})


def test_what_was_prepared_before_needs_no_module(tmp_path, monkeypatch):
    (tmp_path / "birds/1.0.0").mkdir(parents=True)
    (tmp_path / "birds/1.0.0/dataset_info.json").touch()

    class ReadError(Exception):
        pass

    def builder(*_, **__):
        raise ReadError

    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds, "builder", builder)
    with pytest.raises(ReadError):
        stock_builder("birds", "example.org", {"no_such_module": "a-b"})


@pytest.mark.parametrize("name", ["NonMatchingChecksumError", "SomethingElse"])
def test_a_download_that_is_not_what_it_was_is_told(monkeypatch, name):
    error = type(name, (Exception,), {})

    class Builder:
        def download_and_prepare(self, **_):
            raise error("of the file")

    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds_builders, "require_network", lambda *_, **__: None)
    monkeypatch.setattr(tfds, "builder", lambda *_, **__: Builder())
    if name == "SomethingElse":
        with pytest.raises(error):
            stock_builder("birds", "example.org")
    else:
        with pytest.raises(ConnectionError, match=r"Downloading birds failed: of the file\. Try"):
            stock_builder("birds", "example.org")
