"""How long does the page of a large study take: to be written, to open, and to filter?

Command:   python -m benchmarks page        (needs Debian's chromium and playwright, which is among the extra dev)
Expected:  a page of 1,000 runs of 30 epochs is written in less than 20 s on 2 otherwise idle cores.

The runs are made up by the tests' own writer: 200 rows (2 networks, 10 strategies, 10 settings) of 5 seeds each.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.measure import HEADSTART, Figure, interleaved, run, seconds

TESTS = Path(__file__).resolve().parents[1] / "tests"
SEEDS, STRATEGIES, WIDTHS = 5, 10, 5
BROWSER = shutil.which("chromium")
# The scripts have run (the filter is there), and the first chart is drawn once it is scrolled to.
USABLE = """() => new Promise(done => { const look = () => {
  if (document.querySelector('#filter:not([hidden])')) document.querySelector('figure.plot').scrollIntoView();
  if (document.querySelector('figure[data-ready]')) done(performance.now()); else requestAnimationFrame(look);
}; look(); })"""
FILTER = """async () => { const began = performance.now(); kept[0].delete(0); await filter();
  const taken = performance.now() - began; kept[0].add(0); await filter(); return taken; }"""


def measure(repeats: int) -> list[Figure]:
    """Seconds of `headstart compare`, the page's size, and what it takes in a browser."""
    with tempfile.TemporaryDirectory(prefix="headstart-page-") as scratch:
        outputs = Path(scratch) / "outputs"
        count = write_study(outputs)
        command = (*HEADSTART, "compare", "large", "--output-dir", str(outputs))
        taken = interleaved({"write": lambda _: run(command, cwd=outputs)}, repeats)["write"]
        page = outputs / "large/report/index.html"
        figures = [
            Figure(f"headstart compare, {count:,} runs, whole process", seconds(taken), "s", at_most=20.0),
            Figure("the page", page.stat().st_size / 1e6, "MB", at_most=4.0),
        ]
        if BROWSER is not None:
            opened = [open_page(page) for _ in range(repeats)]
            figures.append(
                Figure(
                    "from opening it to a filter and the first chart", median(s for s, _ in opened), "s", at_most=2.0
                )
            )
            figures.append(Figure("a filter of rows", median(ms for _, ms in opened), "ms", at_most=150.0))
    return figures


def write_study(outputs: Path) -> int:
    """Write the runs; returns how many."""
    sys.path.insert(0, str(TESTS))
    from study_files import write_run

    count = 0
    for model in ("efficientnet_lite0", "resnet18"):
        for strategy in range(STRATEGIES):
            for width in range(WIDTHS):
                for flip in (False, True):
                    for seed in range(SEEDS):
                        changes = {"model.args.width": width, "augment.flip": flip}
                        skill = 1.5 + 0.1 * strategy + 0.05 * width
                        own = {"changes": changes, "skill": skill, "n_test": 200, "epochs": 30}
                        write_run(outputs, "large", f"strategy_{strategy}", seed, model=model, **own)
                        count += 1
    return count


def open_page(page: Path) -> tuple[float, float]:
    """Seconds until the page's first chart is drawn, and milliseconds that a filter of all charts in view takes."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(300_000)
        tab.goto(page.as_uri(), wait_until="commit")
        usable = float(tab.evaluate(USABLE)) / 1000
        filtered = float(tab.evaluate(FILTER))
        browser.close()
    return usable, filtered
