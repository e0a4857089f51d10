"""Apache Beam, which writes the TFRecords of large datasets on several processes or machines."""

from __future__ import annotations

import dataclasses
import importlib.util
import shlex
from typing import Any

#: Short names of Beam's runners.
SHORT = {"direct": "DirectRunner"}
MISSING = (
    "--beam_runner needs Apache Beam, which is not installed: pip install 'kfsl[beam]'. Without "
    "the flag this process prepares the dataset alone."
)


@dataclasses.dataclass(frozen=True)
class BeamRunner:
    """Where a dataset is written, as `prepare` was told.

    Args:
        name: str. `"direct"` for this machine, or the name that Beam has for another runner, such
            as `"FlinkRunner"`.
        options: tuple of str. Beam's own pipeline options. Defaults to none.

    Example:
    ```python
    from data_pipelines.datasets.beam_runner import BeamRunner

    try:
        runner = BeamRunner.parse("direct", "--direct_num_workers=2")
    except ValueError as error:  # without Beam
        assert "pip install 'kfsl[beam]'" in str(error)
    else:
        assert runner == BeamRunner("DirectRunner", ("--direct_num_workers=2",))
    ```
    """

    name: str
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str, options: str | None = None) -> BeamRunner:
        """Reads the command's flags.

        Args:
            name: str. As `--beam_runner`.
            options: str or None. As `--beam_options`: Beam's options with spaces between them.

        Returns:
            `BeamRunner`.

        Raises:
            ValueError: Beam is not installed, has no such runner, or cannot read the options.
        """
        if importlib.util.find_spec("apache_beam") is None:
            raise ValueError(MISSING)
        runner = cls(SHORT.get(name, name), tuple(shlex.split(options or "")))
        runner.check()
        return runner

    def check(self) -> None:
        """Raises a ValueError for a runner or options that Beam does not know."""
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners import create_runner

        try:
            create_runner(self.name)
        except (ValueError, ImportError, AttributeError) as error:
            raise ValueError(
                f"--beam_runner={self.name}: Beam has no such runner, or lacks what it needs "
                f"({error}). Use direct, or a name such as FlinkRunner."
            ) from error
        known = PipelineOptions(list(self.options)).get_all_options(drop_default=True)
        if len(known) < len(self.options):
            raise ValueError(
                f"--beam_options={' '.join(self.options)!r}: Beam knows only "
                f"{', '.join(known) or 'none'} of these. Give its options as --name=value."
            )

    def download_config(self) -> Any:
        """What TFDS's `download_and_prepare` needs to know of it.

        Returns:
            `tfds.download.DownloadConfig`.
        """
        import tensorflow_datasets as tfds
        from apache_beam.options.pipeline_options import PipelineOptions

        return tfds.download.DownloadConfig(
            beam_runner=self.name, beam_options=PipelineOptions(list(self.options))
        )
