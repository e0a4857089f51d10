"""Classifies images with this exported few-shot learner. Needs TensorFlow and NumPy alone.

    python example.py                              made-up images
    python example.py SUPPORT_FOLDER QUERY_FOLDER  yours: SUPPORT_FOLDER/<class>/*.png, QUERY/*.png

New classes need no training: the support set, a few labelled images of each class, is an input.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

FOLDER = pathlib.Path(__file__).resolve().parent
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
PNG = b"\x89PNG"  # How such files begin, whatever they are called.


def read_image(path, shape):
    """One PNG, JPEG or BMP file as uint8 [height, width, channels], pixels 0 to 255.

    As in training, what is transparent is white. Photographs must lie upright: TensorFlow does
    not read the orientation that cameras write beside the pixels.
    """
    data = tf.io.read_file(str(path))
    if data.numpy().startswith(PNG):
        pixels = tf.cast(tf.io.decode_png(data, 4), tf.float32)
        opacity = pixels[..., 3:] / 255
        image = pixels[..., :3] * opacity + 255 * (1 - opacity)
        image = tf.image.rgb_to_grayscale(image) if shape[2] == 1 else image
    else:
        image = tf.io.decode_image(data, shape[2], expand_animations=False)
    image = tf.image.resize(image, shape[:2], method="lanczos3", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8).numpy()


def image_files(folder):
    files = (file for file in folder.iterdir() if file.suffix.lower() in ENDINGS)
    return sorted(file for file in files if not file.name.startswith("."))


def read_task(support_folder, query_folder, shape):
    """Support images, their labels, query images, and the names of the classes."""
    folders = (f for f in pathlib.Path(support_folder).iterdir() if f.is_dir())
    folders = sorted(f for f in folders if not f.name.startswith(".") and image_files(f))
    support = [(file, label) for label, f in enumerate(folders) for file in image_files(f)]
    images = np.stack([read_image(file, shape) for file, _ in support])
    labels = np.array([label for _, label in support], "int32")
    queries = [read_image(file, shape) for file in image_files(pathlib.Path(query_folder))]
    return images, labels, np.stack(queries), [f.name for f in folders]


def made_up_task(ways, shape, shots=5, seed=0):
    """A task of made-up classes: each is a random pattern of blocks, each image adds noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (ways, 4, 4, shape[2])).astype("float32")
    patterns = tf.image.resize(coarse, shape[:2], method="nearest").numpy()
    labels = np.repeat(np.arange(ways, dtype="int32"), shots)

    def draw(classes):
        noise = rng.normal(0.0, 10.0, (len(classes), *shape))
        return np.clip(patterns[classes] + noise, 0, 255).astype("uint8")

    return draw(labels), labels, draw(np.arange(ways)), [f"pattern {i}" for i in range(ways)]


def main():
    description = json.loads((FOLDER / "model.json").read_text(encoding="utf-8-sig"))
    shape = description["image"]["trained_shape"]
    if len(sys.argv) == 3:
        task = read_task(*sys.argv[1:], shape)
    else:
        task = made_up_task(description["ways"]["fixed"] or 5, shape)
    support_images, support_labels, query_images, names = task
    model = tf.saved_model.load(str(FOLDER))
    outputs = model.signatures["serving_default"](
        support_images=tf.constant(support_images),
        support_labels=tf.constant(support_labels),
        query_images=tf.constant(query_images),
    )
    # A model of fixed ways has a column for each; the classes that you do not have are last.
    for row in outputs["probabilities"].numpy()[:, : len(names)]:
        print(", ".join(f"{name}: {value:.3f}" for name, value in zip(names, row, strict=True)))


if __name__ == "__main__":
    main()
