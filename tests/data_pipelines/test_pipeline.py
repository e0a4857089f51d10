"""Streams of episodes: the right images, the same ones whatever the grouping, no copy."""

import functools
import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from data_pipelines.pipeline import episode_at, episodes
from data_pipelines.samplers import base_batch, fixed_episode, variable_episode

ROOT = Path(__file__).parents[2]
SAMPLER = functools.partial(fixed_episode, ways=3, shots=2, queries=2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Image number n of the store shows n; every second class is in the training split."""
    path = tmp_path_factory.mktemp("stores") / "numbers"
    classes = [StoredClass(f"class{i}", f"super{i // 4}", 6 + i % 3) for i in range(16)]
    rows = [i for i, entry in enumerate(classes) for _ in range(entry.count)]
    images = ((c, np.full((4, 5, 2), n, "uint8")) for n, c in enumerate(rows))
    write_class_store(path, classes, images, image_shape=(4, 5, 2))
    splits = {"train": range(0, 16, 2), "test": range(1, 16, 2)}
    return FewShotDataset("numbers", ClassStore.open(path), splits)


def collect(stream: tf.data.Dataset) -> list[tuple[dict, np.ndarray]]:
    """Episodes one by one, with their meta-batches taken apart."""
    found = []
    for episode, labels in stream.as_numpy_iterator():
        for i in range(len(labels)):
            found.append(({name: value[i] for name, value in episode.items()}, labels[i]))
    return found


def assert_same(first: list, second: list) -> None:
    assert len(first) == len(second)
    for (episode, labels), (other, other_labels) in zip(first, second, strict=True):
        assert episode.keys() == other.keys()
        assert all(np.array_equal(episode[name], other[name]) for name in episode)
        assert np.array_equal(labels, other_labels)


def test_images_are_those_the_sampler_chose(dataset):
    classes = dataset.split("train")
    for i, (episode, labels) in enumerate(collect(episodes(dataset, "train", SAMPLER, count=5))):
        draw = SAMPLER(classes, 0, i)
        for part in ("support", "query"):
            images = episode[f"{part}_images"]
            assert images.dtype == np.uint8
            assert np.array_equal(images[:, 0, 0, 0], draw[f"{part}_indices"])
            assert np.all(images == images[:, :1, :1, :1])
            assert np.array_equal(episode[f"{part}_classes"], draw[f"{part}_class_ids"])
        assert np.array_equal(episode["support_labels"], draw["support_labels"])
        assert np.array_equal(labels, draw["query_labels"])


def test_shapes_are_static(dataset):
    episode, labels = episodes(dataset, "train", SAMPLER, meta_batch=4).element_spec
    assert {name: (tuple(spec.shape), spec.dtype.name) for name, spec in episode.items()} == {
        "support_images": ((4, 6, 4, 5, 2), "uint8"),
        "support_labels": ((4, 6), "int32"),
        "support_classes": ((4, 6), "int32"),
        "query_images": ((4, 6, 4, 5, 2), "uint8"),
        "query_classes": ((4, 6), "int32"),
    }
    assert labels == tf.TensorSpec((4, 6), tf.int32)


def test_grouping_and_resuming_do_not_change_episodes(dataset):
    reference = collect(episodes(dataset, "train", SAMPLER, seed=5, count=12))
    stream = functools.partial(episodes, dataset, "train", SAMPLER, seed=5)
    assert_same(reference, collect(stream(count=3, meta_batch=4)))
    assert_same(reference[8:], collect(stream(start=2, count=1, meta_batch=4)))
    assert_same(reference, collect(stream(count=12, prefetch=0)))
    endless = stream(start=3, meta_batch=2).take(2)
    assert_same(reference[6:10], collect(endless))


def test_shards_deal_out_the_same_episodes(dataset):
    reference = collect(episodes(dataset, "train", SAMPLER, count=12))
    for shard in range(3):
        stream = episodes(
            dataset, "train", SAMPLER, count=2, meta_batch=2, shard_index=shard, num_shards=3
        )
        assert_same(reference[shard::3], collect(stream))
    resumed = episodes(
        dataset, "train", SAMPLER, start=1, count=1, meta_batch=2, shard_index=1, num_shards=3
    )
    assert_same(reference[7::3], collect(resumed))


def test_splits_hold_different_images(dataset):
    seen = {
        split: {
            int(n)
            for episode, _ in collect(episodes(dataset, split, SAMPLER, count=60))
            for n in episode["query_images"][:, 0, 0, 0]
        }
        for split in ("train", "test")
    }
    assert not seen["train"] & seen["test"]
    assert len(seen["train"] | seen["test"]) == len(dataset.store.images)


def test_an_episode_can_be_looked_up_by_its_number(dataset):
    reference = collect(episodes(dataset, "test", SAMPLER, seed=2, start=41, count=1))
    episode, labels = episode_at(dataset, "test", SAMPLER, 2, 41)
    assert labels.shape == (1, 6)
    looked_up = ({name: value[0].numpy() for name, value in episode.items()}, labels[0].numpy())
    assert_same(reference, [looked_up])
    with pytest.raises(ValueError, match="index must not be negative; received index=-1"):
        episode_at(dataset, "test", SAMPLER, 2, -1)


def test_superclasses_as_labels(dataset):
    by_class = collect(episodes(dataset, "train", SAMPLER, count=3))
    by_super = collect(episodes(dataset, "train", SAMPLER, count=3, label_level="superclass"))
    for (first, _), (second, _) in zip(by_class, by_super, strict=True):
        for name in ("support_classes", "query_classes"):
            assert np.array_equal(first[name] // 2, second[name])  # 2 of 4 classes are in train
            assert second[name].dtype == np.int32
        assert np.array_equal(first["support_images"], second["support_images"])


def test_padded_episodes_carry_their_mask(dataset):
    sampler = functools.partial(
        variable_episode, min_ways=2, max_ways=3, max_shots=2, total_queries=4
    )
    stream = episodes(dataset, "train", sampler, count=8)
    assert stream.element_spec[0]["support_mask"] == tf.TensorSpec((1, 6), tf.bool)
    masks = np.stack([episode["support_mask"] for episode, _ in collect(stream)])
    assert masks.any()
    assert not masks.all()


def test_number_of_elements_is_known(dataset):
    stream = functools.partial(episodes, dataset, "train", SAMPLER, meta_batch=4)
    assert stream(count=7).cardinality() == 7
    assert stream(start=5, count=7).cardinality() == 7
    assert stream().cardinality() == tf.data.INFINITE_CARDINALITY


def test_a_stream_outlives_what_made_it(dataset):
    stream = episodes(dataset, "train", SAMPLER, count=3)
    gc.collect()
    first = collect(stream)
    gc.collect()
    assert_same(first, collect(stream))

    @tf.function
    def total() -> tf.Tensor:
        # Not a Python loop, which AutoGraph does not turn into a graph on every version.
        return stream.reduce(
            tf.constant(0, tf.int64),
            lambda found, data: found + tf.reduce_sum(tf.cast(data[0]["support_images"], tf.int64)),
        )

    assert total() == sum(int(episode["support_images"].sum()) for episode, _ in first)


def test_batches_of_base_classes_are_episodes_of_queries_alone(dataset):
    sampler = functools.partial(base_batch, batch_size=5)
    classes = dataset.split("train")
    stream = episodes(dataset, "train", sampler, seed=3, start=1, count=4)
    assert stream.element_spec == (
        {
            "query_images": tf.TensorSpec((1, 5, 4, 5, 2), tf.uint8),
            "query_classes": tf.TensorSpec((1, 5), tf.int32),
        },
        tf.TensorSpec((1, 5), tf.int32),
    )
    supers = episodes(
        dataset, "train", sampler, seed=3, start=1, count=4, label_level="superclass"
    ).as_numpy_iterator()
    for i, (inputs, labels) in enumerate(stream.as_numpy_iterator()):
        draw = sampler(classes, 3, i + 1)
        assert np.array_equal(inputs["query_images"][0, :, 0, 0, 0], draw["query_indices"])
        assert np.array_equal(labels[0], draw["query_labels"])
        assert np.array_equal(next(supers)[1], labels // 2)
    shard = episodes(dataset, "train", sampler, seed=3, count=2, shard_index=1, num_shards=2)
    assert np.array_equal(next(iter(shard))[1][0], sampler(classes, 3, 1)["query_labels"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"split": "val"}, "has no split 'val'"),
        (
            {"meta_batch": 0},
            "meta_batch must be a whole number of at least 1; received meta_batch=0",
        ),
        (
            {"num_shards": 2, "shard_index": 2},
            "shard_index must be from 0 to .* 1; received shard_index=2",
        ),
        ({"start": -1}, "start must not be negative; received start=-1"),
        ({"count": -2}, "count must not be negative; received count=-2"),
        (
            {"label_level": "alphabet"},
            "label_level must be one of .*; received label_level='alphabet'",
        ),
        ({"sampler": functools.partial(fixed_episode, ways=9)}, "which has 8 classes"),
        ({"sampler": base_batch}, r"batch_size=128, but split 'train' has \d+ images"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_episode(dataset, call, message):
    arguments = {"dataset": dataset, "split": "train", "sampler": SAMPLER, **call}
    with pytest.raises(ValueError, match=message):
        episodes(**arguments)


MEASURE = """
import functools, re, sys
import numpy as np
import tensorflow as tf
from data_pipelines.class_store import ClassStore, StoredClass
from data_pipelines.class_store_writer import write_class_store
from data_pipelines.dataset import FewShotDataset
from data_pipelines.pipeline import episodes
from data_pipelines.samplers import base_batch, fixed_episode

def private_megabytes():
    status = open("/proc/self/status").read()
    return int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]) / 1024

if sys.argv[2] == "deterministic":
    tf.config.experimental.enable_op_determinism()
classes = [StoredClass(f"c{i}", "s", 20) for i in range(100)]
image = np.ones((224, 224, 1), "uint8")
images = ((c, image) for c in range(100) for _ in range(20))
write_class_store(sys.argv[1], classes, images, image_shape=(224, 224, 1))
dataset = FewShotDataset("ones", ClassStore.open(sys.argv[1]), {"train": range(100)})
sampler = functools.partial(fixed_episode, ways=2, shots=1, queries=1)
small = tf.data.Dataset.range(9).map(lambda i: i + 1, num_parallel_calls=2).prefetch(2)
list(small)  # threads and buffers that any pipeline needs
before = private_megabytes()
streams = [
    iter(episodes(dataset, "train", sampler)),
    iter(episodes(dataset, "train", functools.partial(base_batch, batch_size=4))),
]
for stream in streams:
    for _ in range(20):
        next(stream)
print("grown by", private_megabytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="private memory is read from /proc")
@pytest.mark.parametrize("mode", ["default", "deterministic"])
def test_the_store_is_mapped_not_copied(tmp_path, mode):
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "ones"), mode],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    grown = float(output.split("grown by")[1])
    assert grown < 48  # the store has 96 megabytes
