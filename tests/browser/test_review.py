"""The page of `review` in a real browser: what a person does on it, and what it saves."""

import csv
import shutil

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.pages import review
from experiments.safety import csv_files

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs Debian's chromium", allow_module_level=True)

# Names that would be markup, end a script, or break a line of a table.
NAMES = ["<b>bold</b>", 'a "quoted", name', "</script><script>window.broken = true</script>", "=über & ünter"]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """An audited run on small pictures, eight labels of which are wrong."""
    folder = tmp_path_factory.mktemp("review")
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 4
    images = rng.integers(0, 60, (160, 6, 6, 1))
    images[np.arange(160), labels] += 180
    given = labels.copy()
    given[:8] = (given[:8] + 1) % 4
    np.savez(
        folder / "data.npz",
        train_images=images.astype(np.uint8),
        train_labels=np.array(NAMES)[given],
        class_names=np.array(NAMES),
    )
    run = folder / "run"
    flags = ["--epochs", "15", "--batch-size", "16", "--width", "16", "--run-dir", str(run)]
    assert main(["train", "--dataset", f"npz:{folder / 'data.npz'}", *flags]) == 0
    assert main(["audit", str(run)]) == 0
    assert main(["review", str(run), "--examples", "20"]) == 0
    return run


@pytest.fixture
def page(browser, run_dir):
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(error))
    # Offline means offline: whatever is fetched from elsewhere is an error.
    opened.on("request", lambda request: request.url.startswith("http") and errors.append(request.url))
    opened.goto(f"file://{run_dir / 'review.html'}")
    yield opened
    assert errors == []
    context.close()


def saved(page, path):
    with page.expect_download() as found:
        page.keyboard.press("w")
    assert found.value.suggested_filename == "reviewed.csv"
    found.value.save_as(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return [{key: csv_files.original(cell) for key, cell in row.items()} for row in rows]


def text(page, name):
    return page.locator(f"#{name}").inner_text()


def test_names_are_text_whatever_is_in_them(page):
    assert text(page, "given") in NAMES
    assert page.evaluate("window.broken") is None
    assert page.locator("#given b").count() == 0


def test_the_keyboard_alone_decides_and_what_is_saved_is_cleaned(page, tmp_path, run_dir, capsys):
    given, suggested = [], []
    for key in ("s", "k", "d", "ArrowRight"):
        given.append(text(page, "given"))
        suggested.append(text(page, "suggested"))
        page.keyboard.press(key)
    given.append(text(page, "given"))
    # Another class, by typing a part of its name.
    page.keyboard.press("a")
    page.keyboard.type("ünter")
    page.keyboard.press("Enter")
    assert text(page, "count") == "4 of 20 decided"
    rows = saved(page, tmp_path / "reviewed.csv")
    decisions = [row["decision"] for row in rows]
    assert decisions[:3] == ["relabel", "keep", "drop"]
    assert [row["label"] for row in rows[:3]] == [suggested[0], given[1], ""]
    assert (decisions[3], rows[3]["label"]) == (
        ("keep", given[4]) if given[4] == NAMES[3] else ("relabel", NAMES[3])
    )
    assert [row["given_label"] for row in rows] == [given[0], given[1], given[2], given[4]]
    output = tmp_path / "clean.npz"
    command = ["clean", str(run_dir), "--reviewed", str(tmp_path / "reviewed.csv"), "--only-reviewed"]
    assert main([*command, "--output", str(output)]) == 0
    cleaned = np.load(output)
    assert len(cleaned["train_labels"]) == 159
    before = list(np.load(run_dir.parent / "data.npz")["train_labels"])
    before[int(rows[0]["index"])] = suggested[0]
    before[int(rows[3]["index"])] = rows[3]["label"]
    del before[int(rows[2]["index"])]
    assert cleaned["train_labels"].tolist() == before
    assert "examples left out: 1" in capsys.readouterr().out


def test_what_was_decided_survives_closing_and_can_be_undone(browser, run_dir):
    context = browser.new_context()
    first = context.new_page()
    first.goto(f"file://{run_dir / 'review.html'}")
    first.keyboard.press("s")
    first.keyboard.press("k")
    first.close()
    again = context.new_page()
    again.goto(f"file://{run_dir / 'review.html'}")
    assert text(again, "count") == "2 of 20 decided"
    assert text(again, "name").startswith("3 of 20")
    again.keyboard.press("u")
    assert text(again, "count") == "1 of 20 decided"
    assert text(again, "name").startswith("2 of 20")
    again.keyboard.press("ArrowLeft")
    assert text(again, "decided") == f"decided: {text(again, 'suggested')}"
    # A decision that replaces another one: undone, the first is back.
    again.keyboard.press("d")
    again.keyboard.press("u")
    assert text(again, "decided") == f"decided: {text(again, 'suggested')}"
    for _ in range(30):
        again.keyboard.press("ArrowRight")
    assert "You have seen all 20 examples" in text(again, "end")
    assert again.locator("#take").is_disabled()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(browser, run_dir, scheme):
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(f"file://{run_dir / 'review.html'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for name in ("take", "keep", "another", "drop", "skip", "back", "undo"):
        box = page.locator(f"#{name}").bounding_box()
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= 740
    page.locator("#take").tap()
    assert text(page, "count") == "1 of 20 decided"
    contrast = page.evaluate(
        """() => {
          const light = c => { const [r, g, b] = c.match(/\\d+/g).map(v => v / 255)
              .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const paper = light(getComputedStyle(document.body).backgroundColor);
          return ["given", "suggested", "name", "wrong"].map(id => {
            const own = light(getComputedStyle(document.getElementById(id)).color);
            return (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05); });
        }"""
    )
    assert min(contrast) >= 4.5
    context.close()


def test_five_thousand_examples_are_quick(browser, run_dir, tmp_path, monkeypatch):
    whole = review.items

    def many(run, data, suspects, probabilities):
        found = whole(run, data, suspects, probabilities)
        return [dict(found[i % len(found)], index=i) for i in range(5000)]

    monkeypatch.setattr(review, "items", many)
    assert main(["review", str(run_dir), "--output", str(tmp_path / "many.html")]) == 0
    page = browser.new_page()
    page.goto(f"file://{tmp_path / 'many.html'}")
    page.keyboard.press("s")
    seconds = page.evaluate(
        """() => { const start = performance.now();
          for (let i = 0; i < 200; i++) decide("keep", null);
          return (performance.now() - start) / 1000; }"""
    )
    assert text(page, "count") == "201 of 5000 decided"
    # Each within a frame or two, or the page would feel slow.
    assert seconds < 200 * 0.05
    page.close()


def test_a_browser_that_keeps_nothing_says_so(browser, run_dir):
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script("Storage.prototype.setItem = () => { throw new Error('no room'); }")
    page.goto(f"file://{run_dir / 'review.html'}")
    assert page.locator("#warning").is_visible()
    page.keyboard.press("s")
    assert text(page, "count") == "1 of 20 decided"
    context.close()
