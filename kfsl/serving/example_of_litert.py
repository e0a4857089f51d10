"""Classifies images with this exported few-shot learner. Needs LiteRT, NumPy, Pillow.

    python example.py                              made-up images
    python example.py SUPPORT_FOLDER QUERY_FOLDER  yours: SUPPORT_FOLDER/<class>/*.png, QUERY/*.png

New classes need no training: the support set, a few labelled images of each class, is an input.
"""

import json
import pathlib
import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import ExifTags, Image

FOLDER = pathlib.Path(__file__).resolve().parent
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")
MODES = {1: "L", 3: "RGB"}
#: What a camera's orientations ask for; the first is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path, shape):
    """One PNG, JPEG or BMP file as uint8 [height, width, channels], pixels 0 to 255.

    As in training: turned as the camera says, on white where it is transparent.
    """
    with Image.open(path) as image:
        image.load()
    turn = TURNS.get(orientation(image))
    image = image if turn is None else image.transpose(turn)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    image = image.convert(MODES[shape[2]]).resize((shape[1], shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(image, "uint8").reshape(shape)


def orientation(image):
    """What the camera says; nothing where that cannot be read."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:
        return None


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
    rows, columns = (np.arange(size) * 4 // size for size in shape[:2])
    patterns = coarse[:, rows][:, :, columns]
    labels = np.repeat(np.arange(ways, dtype="int32"), shots)

    def draw(classes):
        noise = rng.normal(0.0, 10.0, (len(classes), *shape))
        return np.clip(patterns[classes] + noise, 0, 255).astype("uint8")

    return draw(labels), labels, draw(np.arange(ways)), [f"pattern {i}" for i in range(ways)]


def signature(description, name):
    """A function of arrays by name, as model.json lists them."""
    interpreter = Interpreter(model_path=str(FOLDER / description["files"][name]))
    return interpreter.get_signature_runner(name)


def probabilities(description, support_images, support_labels, query_images):
    """Learns the support set once, and answers for the queries: [queries, classes]."""
    embed, adapt, infer = (signature(description, name) for name in ("embed", "adapt", "infer"))
    features = embed(images=support_images)["features"]
    state = adapt(support_features=features, support_labels=support_labels)
    queries = embed(images=query_images)["features"]
    return infer(**state, query_features=queries)["probabilities"]


def main():
    description = json.loads((FOLDER / "model.json").read_text(encoding="utf-8-sig"))
    shape = description["image"]["trained_shape"]
    if len(sys.argv) == 3:
        task = read_task(*sys.argv[1:], shape)
    else:
        task = made_up_task(description["ways"]["fixed"] or 5, shape)
    support_images, support_labels, query_images, names = task
    found = probabilities(description, support_images, support_labels, query_images)
    if np.isnan(found).any():
        sys.exit("The support labels do not fit this model; see ways and shots in model.json.")
    # A model of fixed ways has a column for each; the classes that you do not have are last.
    for row in found[:, : len(names)]:
        print(", ".join(f"{name}: {value:.3f}" for name, value in zip(names, row, strict=True)))


if __name__ == "__main__":
    main()
