"""The page works without a network and shows the image under the pointer; the picture is of the same chart."""

import html
import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.tracking.plot_style import COLOURS
from headstart.visualize.embedding import chart
from headstart.visualize.embedding.spec import NAMED, make_spec
from visualize.embedding.maps import make_maps

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVIL = "</script><script>document.title='taken'</script>"
# moves the pointer over the chart until it shows an image, and writes down what it shows
POINTER = """<script>
const found = document.createElement("pre"); found.id = "found"; document.body.append(found);
const wait = setInterval(() => {
  const canvas = document.querySelector("#map canvas"); if (!canvas) return;
  clearInterval(wait);
  const box = canvas.getBoundingClientRect();
  for (let y = box.top; y < box.bottom; y += 5) for (let x = box.left; x < box.right; x += 5) {
    canvas.dispatchEvent(new PointerEvent("pointermove", {clientX: x, clientY: y, bubbles: true}));
    const image = document.querySelector("#vg-tooltip-element.visible img");
    if (image) { found.textContent = image.src + document.querySelector("#vg-tooltip-element").innerText; return; }
  }
}, 50);
</script></body>"""


def to_rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def count_near(picture: np.ndarray, colour: str) -> int:
    return int((np.abs(picture.astype(int) - to_rgb(colour)).max(2) < 60).sum())


def test_the_page_names_nothing_outside_itself() -> None:
    page = chart.make_html(make_maps(["cat", EVIL]), EVIL, "a note")
    assert EVIL not in page
    assert "default-src 'none'" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"https?:|\bsrc=|\bhref=|url\(", outside) == []


@pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.slow
def test_in_a_browser_the_image_under_the_pointer_is_shown(tmp_path: Path) -> None:
    page, _, end = chart.make_html(make_maps(["猫", EVIL], count=2), "maps", "a note").rpartition("</body>")
    (tmp_path / "page.html").write_text(page + POINTER + end, encoding="utf-8")
    assert BROWSER is not None
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=20000"]
    command = [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    (shown,) = re.findall(r'<pre id="found">([^<]*)', done.stdout)
    assert shown.startswith("data:image/webp;base64,")
    for word in (html.escape(EVIL, quote=False), "predicted, map 1", "predicted, map 2", "test["):
        assert word in shown
    assert "<title>maps</title>" in done.stdout
    assert "Content Security Policy" not in done.stderr  # nothing was even tried
    assert "Uncaught" not in done.stderr


def test_the_picture_shows_classes_and_rings() -> None:
    maps = make_maps(["cat", "dog", "猫"])
    picture = Image.open(io.BytesIO(chart.make_png(maps)))
    pixels = np.asarray(picture.convert("RGB"))
    assert picture.width > 1000
    assert all(count_near(pixels, colour) > 300 for colour in COLOURS[:3])


def test_more_classes_than_colours_differ_by_shape() -> None:
    classes = [f"c{at}" for at in range(30)]
    points = make_spec(make_maps(classes), classes)["layer"][0]["encoding"]
    looks = list(zip(points["color"]["scale"]["range"], points["shape"]["scale"]["range"], strict=True))
    assert len(set(looks)) == 30
    many = [f"c{at}" for at in range(NAMED + 1)]
    spec = make_spec(make_maps(many), many)
    assert spec["layer"][0]["encoding"]["color"]["legend"] is None
    assert len(spec["layer"]) == 2  # without names in the map
