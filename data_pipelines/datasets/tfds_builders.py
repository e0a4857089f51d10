"""Building and reading TensorFlow Datasets, quietly and without hanging."""

import contextlib
import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.datasets.beam_runner import BeamRunner

PROBE_TIMEOUT_SECONDS = 5.0


def build(builder: Any, data_dir: Path, beam: BeamRunner | None = None) -> Any:
    """Writes the TFRecords of one of our own builders.

    Args:
        builder: `tfds.core.GeneratorBasedBuilder`.
        data_dir: `pathlib.Path`. Its data directory.
        beam: `BeamRunner` or None. Who does it, of a builder that was made for Beam; None: this
            process. Defaults to `None`.

    Returns:
        The builder.

    Raises:
        ValueError, OSError: as its generator raised them, without TFDS's wrapping.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    with _quiet_stdout():
        builder.download_and_prepare(
            file_format="tfrecord", download_config=beam and beam.download_config()
        )
    shutil.rmtree(data_dir / "downloads", ignore_errors=True)
    return builder


def stock_builder(name: str, host: str, needs: Mapping[str, str] | None = None) -> Any:
    """TFDS's own dataset, downloaded if TFDS does not have it yet.

    Args:
        name: str. Name in the TFDS catalogue.
        host: str. Where the archives lie; reached for before TFDS starts, because TFDS retries
            for minutes when there is no network.
        needs: mapping or None. Modules that TFDS needs to read this dataset and does not require
            itself, and what `pip install` calls them.

    Returns:
        A prepared `tfds.core.DatasetBuilder`, in TFDS's own data directory.

    Raises:
        ConnectionError: the dataset is not there and cannot be downloaded.
        ValueError: a module that it needs is missing.
    """
    if not _is_there(_stock_dir(name)):
        _require_modules(name, needs or {})
    require_network(name, host, already_there=_stock_dir(name))
    import requests
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    builder = tfds.builder(name, file_format="tfrecord")
    try:
        with _quiet_stdout():
            builder.download_and_prepare(file_format="tfrecord")
    except Exception as error:
        known = isinstance(error, tfds.download.DownloadError | requests.RequestException)
        # TFDS does not export this one.
        if not known and type(error).__name__ != "NonMatchingChecksumError":
            raise
        raise ConnectionError(
            f"Downloading {name} failed: {error}. Try again, or give a folder with the images: "
            "--source=PATH."
        ) from error
    return builder


def require_network(name: str, host: str, already_there: Path | None = None) -> None:
    """Fails within seconds when a download cannot work.

    Raises:
        ConnectionError: the host does not answer; the message names `--source`.
    """
    if already_there is not None and _is_there(already_there):
        return
    problem = _connection_problem(f"https://{host}")
    if problem:
        raise ConnectionError(
            f"Cannot download {name}: {host} is out of reach ({problem}). Connect to the network, "
            "or give a folder with the images: --source=PATH."
        )


def _connection_problem(address: str) -> str:
    """Why an address cannot be reached, or an empty string.

    Asked with the library with which TFDS downloads, so that proxies and certificates agree.
    """
    import requests

    problems = [f"no answer within {PROBE_TIMEOUT_SECONDS:.0f} s"]

    def probe() -> None:
        try:
            requests.head(address, timeout=PROBE_TIMEOUT_SECONDS).close()
            problems.append("")
        except requests.RequestException as error:
            problems.append(type(error).__name__)

    # In a thread, because looking up a name obeys no timeout.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PROBE_TIMEOUT_SECONDS)
    return problems[-1]


def read_tfds(
    builder: Any, split: str, features: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Examples of a prepared split as NumPy arrays, in the order of the files.

    Args:
        builder: `tfds.core.DatasetBuilder`.
        split: str.
        features: sequence of str or None. Those to decode; None: all. Defaults to `None`.

    Returns:
        Iterator of dicts from feature to array.
    """
    import tensorflow_datasets as tfds

    decoders = features and tfds.decode.PartialDecoding(dict.fromkeys(features, True))
    dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=decoders)
    yield from tfds.as_numpy(dataset)


def read_labelled(builder: Any) -> Iterator[tuple[str, np.ndarray]]:
    """`(class name, image)` of all splits of a builder with the features `image` and `label`."""
    names = builder.info.features["label"].names
    for split in builder.info.splits:
        for example in read_tfds(builder, split):
            yield names[int(example["label"])], example["image"]


def _require_modules(name: str, needs: Mapping[str, str]) -> None:
    for module, package in needs.items():
        if importlib.util.find_spec(module) is None:
            raise ValueError(
                f"TFDS needs {package} to read {name}: pip install {package}. Or give a folder "
                "with the images: --source=PATH."
            )


def _is_there(folder: Path) -> bool:
    return any(folder.glob("*/dataset_info.json"))


def _stock_dir(name: str) -> Path:
    chosen = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser() / name


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    """TFDS prints a banner; standard output belongs to the command."""
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield
