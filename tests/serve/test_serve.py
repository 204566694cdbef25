"""`headstart serve` as a process, its page in Chromium: what it answers, and that it asks nobody else."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from export.folders import export_run
from headstart.cli.main import main
from headstart.serve import answer
from headstart.serve.answer import Answerer, RefusedError, open_image
from headstart.serve.app import make_app
from headstart.serve.examples import read_examples
from predict.runs import digits, load, make_run
from report.browser import BROWSER, PATIENCE_MS

SLOW = pytest.mark.slow
# headstart in a process that ends at once if it asks for a name or a connection: of this machine or another
ALONE = """
import os, runpy, sys
def refuse(event, given):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        print(event, given, file=sys.stderr, flush=True)
        os._exit(9)
sys.addaudithook(refuse)
runpy.run_module("headstart", run_name="__main__")
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a page for a run with 40 validation images."""
    folder = make_run("fitted", "data.val_fraction=0.4").folder
    words = [sys.executable, "-c", ALONE, "serve", str(folder), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            assert process.poll() is None, "it asked for a connection"
            process.terminate()


@SLOW
@pytest.mark.skipif(BROWSER is None, reason="Debian's chromium is not installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 1000), ("light", 360)])
def test_the_page_answers_and_asks_nobody_else(
    address: str, browser: Any, tmp_path: Path, scheme: str, width: int
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    network = load_page_network()
    # the page's policy forbids the scripts of the test, too; a test below looks for it
    tab = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    tab.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: asked.append(str(error)))
    tab.goto(address)
    photo, text, large = tmp_path / "photo.jpg", tmp_path / "text.jpg", tmp_path / "large.jpg"
    large.write_bytes(bytes(20_000_001))
    Image.fromarray(load_sample_images().images[0]).save(photo)
    text.write_text("no image")
    tab.set_input_files("#drop input", photo)
    tab.wait_for_selector("#result table")
    assert "unlike the training images" in tab.inner_text("#result .warning")
    assert tab.locator("#result figure img").count() == 2
    (own,) = network.predict(photo, calibrated=True)
    assert tab.locator("#result th").all_inner_texts() == list(own.labels)
    assert tab.inner_text("#result td.number >> nth=0") == f"{100 * own.probabilities[0]:.1f} %"
    tab.click("#examples button >> nth=-1")
    tab.wait_for_function("!document.querySelector('#result.busy') && !document.querySelector('.warning')")
    assert tab.locator("#result th").count() == 5
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab).response["violations"]
    assert {each["id"]: [node["html"][:200] for node in each["nodes"]] for each in found} == {}
    tab.set_input_files("#drop input", text)
    tab.wait_for_selector("#result .error")
    assert tab.inner_text("#result") == "This is no image: the file is none of JPEG, PNG, WEBP, GIF, BMP, TIFF."
    tab.set_input_files("#drop input", large)
    assert tab.inner_text("#result") == "This file is too large: 20 MB are the most."
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    tab.close()


def load_page_network() -> Any:
    import headstart

    return headstart.load(make_run("fitted", "data.val_fraction=0.4").folder, "cpu")


def ask(address: str, content: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(Request(f"{address}/answer", content, headers)) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        said = error.read()
        return error.code, json.loads(said) if said.startswith(b"{") else {}


@SLOW
def test_it_refuses_what_is_too_large_or_from_elsewhere(address: str) -> None:
    connection = HTTPConnection(address.removeprefix("http://"))
    connection.putrequest("POST", "/answer")
    connection.putheader("Content-Length", "20000001")
    connection.endheaders()
    assert connection.getresponse().status == 413, "before anything is sent"
    picture = sorted(digits().rglob("*.png"))[0].read_bytes()
    assert ask(address, picture)[0] == 200
    assert ask(address, picture, Origin=address)[0] == 200
    assert ask(address, picture, Origin="http://evil.example")[0] == 403
    assert ask(address, picture, Host="evil.example")[0] == 400, "a name that was made to point here"
    with urlopen(address) as page:
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        links = re.findall(r'(?:src|href)="([^"]+)"', page.read().decode())
    assert [link for link in links if re.match(r"(https?:)?//", link)] == []


def test_an_image_that_gets_no_answer_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    assert open_image(whole).size == (30, 20)
    for content, words in ((b"", "This is no image"), (whole[:900], "This image cannot be read")):
        with pytest.raises(RefusedError, match=words):
            Answerer(load("fitted")).answer(content)
    Image.new("RGB", (30, 20)).save(tmp_path / "a.eps")
    with pytest.raises(RefusedError, match="This is no image"):
        open_image((tmp_path / "a.eps").read_bytes())
    monkeypatch.setattr(answer, "MOST_PIXELS", 599)
    with pytest.raises(RefusedError, match="too large: 30 × 20 pixels, and 599 are the most"):
        open_image(whole)


def test_examples_begin_with_mistakes() -> None:
    network = load("fitted")
    assert network.folder is not None
    found = read_examples(network.folder)
    wrong = [each.label != each.predicted for each in found]
    assert wrong == sorted(wrong, reverse=True)
    assert 0 < sum(wrong) < len(found)
    assert all(open_image(each.content).size == (40, 32) for each in found)


def test_an_export_is_served_without_examples_and_says_so() -> None:
    import headstart
    from headstart.cli import serve

    network = headstart.load(export_run("fine-tuned"), "cpu")
    answerer, examples, notes = serve._prepare(network)
    assert (answerer.familiar, examples) == (None, [])
    assert "no examples and no warnings" in notes[0]
    make_app(answerer, examples, notes)
    picture = sorted(digits().rglob("*.png"))[30]
    told = Answerer(network).answer(picture.read_bytes())
    assert list(told["labels"]) == list(load("fine-tuned").predict(picture)[0].labels)
    assert (told["unlike"], told["calibrated"]) == (None, True)
    assert told["overlay"].startswith("data:image/png;base64,")


def test_a_taken_port_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert main(["serve", "efficientnet_lite0", "--port", port]) == 2
    assert "cannot listen there" in capsys.readouterr().err
