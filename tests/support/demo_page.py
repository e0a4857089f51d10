"""The page of `kfsl.demo` in a real browser: the command is a process, chromium has no window."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.support.refusals import CHECKOUT

#: Seconds: to start, and to answer; many more than either takes.
START, ANSWER = 120, 60
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str | None:
    """What keeps the page from being tested here, or None."""
    lacking = [name for name in ("gradio", "selenium") if importlib.util.find_spec(name) is None]
    lacking += [] if any(map(shutil.which, BROWSERS)) else ["chromium"]
    lacking += [] if shutil.which("chromedriver") else ["chromedriver"]
    if not lacking:
        return None
    return (
        f"not installed: {', '.join(lacking)}. Gradio needs an older Pillow than kfsl is tested "
        "with: make test-demo runs these tests in an environment of their own"
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class DemoProcess:
    """`python -m kfsl.demo`, served.

    Args:
        *arguments: str. Flags apart from the port.
        folder: path. For files that the process keeps while it runs.
    """

    def __init__(self, *arguments: str, folder: Path) -> None:
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.log = folder / "demo.log"
        self.kept = folder / "kept"
        self.kept.mkdir()
        environment = {**os.environ, "PYTHONPATH": CHECKOUT, "TMPDIR": str(self.kept)}
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kfsl.demo", *arguments, f"--port={port}"],
                stdout=subprocess.PIPE, stderr=log, text=True, cwd=folder, env=environment,
            )  # fmt: skip
        self.said = self.process.stdout.readline()
        assert self.address in self.said, self.log.read_text(encoding="utf-8")

    def end(self) -> int:
        """Tells the process to end, impatiently; its exit code."""
        self.process.terminate()
        self.process.terminate()
        self.process.stdout.close()
        return self.process.wait(START)


class DemoPage:
    """The page as somebody sees and uses it.

    Args:
        address: str.
    """

    def __init__(self, address: str) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
        # Chromium's own sandbox is refused to root, as whom tests in containers run.
        for argument in ("--headless=new", "--no-sandbox", "--window-size=1300,1600"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        service = Service(shutil.which("chromedriver"))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.address = address
        self.open()

    def open(self) -> None:
        """As in a new window; returns when the page has what lay on the workbench."""
        self.driver.get(self.address)
        self.wait(lambda: self.told("support"))

    def close(self) -> None:
        self.driver.quit()

    def wait(self, holds: Callable[[], Any]) -> Any:
        """What something gives as soon as it gives anything; the page may change meanwhile."""
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
        )
        from selenium.webdriver.support.wait import WebDriverWait

        passing = (NoSuchElementException, StaleElementReferenceException)
        waiting = WebDriverWait(self.driver, ANSWER, 0.1, ignored_exceptions=passing)
        return waiting.until(lambda _: holds())

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def told(self, part: str) -> str:
        """The lines of a part of the page; empty while there are none."""
        # Not the part's whole text: while an event runs, its seconds lie over it.
        lines = self.driver.find_elements("css selector", f"#{part} li, #{part} [role=alert]")
        return "\n".join(line.text for line in lines)

    def rows(self) -> list[list[str]]:
        """The table of predictions, with its head."""
        lines = self.driver.find_elements("css selector", "#table tr")
        return [
            [cell.text for cell in line.find_elements("css selector", "th, td")] for line in lines
        ]

    def headings(self) -> list[str]:
        """Of the cards of the classes."""
        return [each.text for each in self.driver.find_elements("css selector", ".card h3")]

    def drop(self, part: str, files: Iterable[Path]) -> None:
        """Gives files to an input, as a drop does."""
        found = self.wait(lambda: self.find(f"#{part} input[type=file]"))
        found.send_keys("\n".join(map(str, files)))

    def add_class(self, name: str) -> None:
        self.find("#class-name input, #class-name textarea").send_keys(name)
        self.find("#add-class").click()

    def picture(self) -> str:
        """The address of the picture of where the model looks; empty where there is none."""
        found = self.driver.find_elements("css selector", "#picture img")
        return found[0].get_attribute("src") if found else ""

    def asked_for(self) -> set[str]:
        """The addresses from which the browser fetched something since it was last asked."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        return {
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        }
