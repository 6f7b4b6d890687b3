"""Opens the page of `serve` and of `ui` in a headless Chromium and uses it as a person does.

    pip install playwright && playwright install chromium
    cargo build -p cog-train --example page
    python cog-train/tests/python/page.py target/debug/examples/page [FOLDER FOR SCREENSHOTS]

`CHROMIUM=/usr/bin/chromium` takes a browser of the system's. A message on the browser's console, a request of another host or a text
of a run that becomes markup fails the test.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from playwright.sync_api import expect, sync_playwright

HEBREW = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd (3)."
ARABIC = "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645: 0.25."
JAPANESE = "\u5b66\u7fd2" * 40
MARKUP = "<img src=x onerror=window.hacked=1>"
POINTS = 1_000_000


class Program:
    """A process of the binary that listens."""

    def __init__(self, binary, folder, *arguments, **variables):
        self.process = subprocess.Popen([binary, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, **variables})
        for line in self.process.stderr:
            found = re.search(r"(?:listening on |http://)(127\.0\.0\.1:\d+)", line)
            if found:
                self.address = f"http://{found[1]}"
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def put(self, id, **inputs):
        request = urllib.request.Request(f"{self.address}/trainings/{id}", json.dumps({"input": inputs}).encode(), method="PUT",
                                         headers={"Content-Type": "application/json", "Prefer": "respond-async"})
        for _ in range(600):
            try:
                return urllib.request.urlopen(request).read()
            except urllib.error.HTTPError as error:
                if error.code not in (503, 409):
                    raise
                time.sleep(0.1)


class Browser:
    """Pages that say nothing on their console and ask nobody but their server."""

    def __init__(self, chromium, shots):
        self.chromium, self.shots, self.wrong, self.contexts = chromium, shots, [], []

    def open(self, address, width=1440, height=900, **options):
        context = self.chromium.new_context(viewport={"width": width, "height": height}, **options)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.wrong.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("request", lambda request: request.url.startswith((address, "data:", "blob:")) or self.wrong.append(f"request: {request.url}"))
        page.goto(f"{address}/ui")
        return page

    def close(self):
        """Closes all pages, before their server ends and they miss it."""
        for context in self.contexts:
            context.close()
        self.contexts.clear()

    def shot(self, page, name, **options):
        if self.shots:
            page.wait_for_timeout(300)
            page.screenshot(path=self.shots / f"{name}.png", **options)


# The last step of the loss curve.
LAST_STEP = "Number((document.querySelector('.plot canvas')?.getAttribute('aria-label').match(/step ([0-9,]+)/)?.[1] ?? '0').replaceAll(',', ''))"


def until(page, condition, seconds=30):
    """Waits for a condition. The page's policy forbids what `wait_for_function` does."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.01)


def live(browser, binary, folder):
    with Program(binary, folder, "serve", "--host", "127.0.0.1", "--port", "0") as server:
        page = browser.open(server.address)
        expect(page.locator("#no-runs")).to_contain_text("No runs yet")
        browser.shot(page, "empty")
        server.put("first", steps=40)
        server.put("second", steps=2000, pause=25, learning_rate=0.1, prompt=MARKUP)
        expect(page.locator("#runs tbody tr")).to_have_count(2, timeout=20000)
        page.click("#runs tbody tr[data-id=second]")
        expect(page.locator("#status")).to_have_text("running")
        expect(page.locator(".plot")).to_have_count(5, timeout=10000)
        before = page.evaluate(LAST_STEP)
        until(page, f"{LAST_STEP} > {before}")
        page.locator("#runs tbody tr[data-id=first] .swatch").click()
        expect(page.locator("#legend")).to_contain_text("first")
        page.locator(".plot canvas[tabindex]").first.hover(position={"x": 200, "y": 80})
        expect(page.locator(".tip:visible")).to_contain_text("second")
        browser.shot(page, "two")
        page.keyboard.press("3")
        expect(page.locator("#differ-count")).to_contain_text("inputs differ")
        expect(page.locator("#values")).to_contain_text(MARKUP)
        browser.shot(page, "inputs")
        page.keyboard.press("4")
        expect(page.locator("#cards img").first).to_have_js_property("naturalWidth", 24)
        expect(page.locator("#cards")).to_contain_text(f"{MARKUP} after 10 steps")
        browser.shot(page, "samples")
        page.keyboard.press("2")
        expect(page.locator("#lines")).to_contain_text(MARKUP)
        page.locator("#lines").click()
        page.keyboard.press("/")
        page.keyboard.type("eval loss")
        expect(page.locator("#found")).to_contain_text(" of ")
        browser.shot(page, "log")
        page.keyboard.press("Escape")
        assert page.evaluate("window.hacked") is None, "a text of a run is markup"
        page.keyboard.press("1")
        page.click("#checkpoint")
        expect(page.locator("#said")).to_contain_text("checkpoint")
        page.click("#cancel")
        expect(page.locator("#status")).to_have_text("running")
        page.click("#cancel")
        expect(page.locator("#status")).to_have_text("canceled", timeout=15000)
        expect(page.locator("#cancel")).to_be_hidden()
        assert (folder / "runs/second/checkpoints/saved.json").exists()
        browser.close()


def keyboard(browser, address):
    page = browser.open(address, reduced_motion="reduce")
    expect(page.locator("#runs tbody tr")).to_have_count(4)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    focused = lambda: page.evaluate("document.activeElement.dataset.id || document.activeElement.id || document.activeElement.tagName")
    names = [row.get_attribute("data-id") for row in page.locator("#runs tbody tr").all()]
    assert focused() == names[2], focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus is visible"
    expect(page.locator("#name")).to_have_text(names[2])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("/")
    assert focused() == "filter", focused()
    page.keyboard.type("long")
    expect(page.locator("#runs tbody tr")).to_have_count(1)
    page.keyboard.press("Enter")
    assert focused() == "long", focused()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    expect(page.locator("#runs tbody tr")).to_have_count(4)
    page.keyboard.press("Enter")
    assert focused() == "tab-charts", focused()
    page.keyboard.press("ArrowRight")
    assert focused() == "tab-log", focused()
    page.keyboard.press("1")
    page.locator(".plot canvas[tabindex]").first.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#at")).to_contain_text("step")
    page.keyboard.press("+")
    expect(page.locator("#whole")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#whole")).to_be_hidden()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    moving = page.evaluate("document.getAnimations().length")
    assert moving == 0, f"{moving} animations where motion is to be reduced"


def disk(browser, binary, folder):
    runs = folder / "runs"
    long = runs / "long"
    long.mkdir()
    (long / "run.json").write_text(json.dumps({"status": "succeeded", "started_at": "2020-01-01T00:00:00Z"}))
    with open(long / "metrics.jsonl", "w") as file:
        file.writelines(f'{{"step":{step},"loss":{3 / (1 + step / 1e5) + (step * 7919 % 1000) / 3000:.6f}}}\n' for step in range(1, POINTS + 1))
    (runs / "damaged").mkdir()
    (runs / "damaged/run.json").write_text("{")
    with Program(binary, folder, "ui", "runs", "--port", "0") as server:
        keyboard(browser, server.address)
        page = browser.open(server.address)
        expect(page.locator("#runs tbody tr")).to_have_count(4)
        page.click("#runs tbody tr[data-id=first]")
        expect(page.locator(".plot").first).to_be_visible()
        began = time.perf_counter()
        page.click("#runs tbody tr[data-id=long]")
        # The last bucket is at its middle.
        until(page, f"{LAST_STEP} > {POINTS} * 0.99")
        took = time.perf_counter() - began
        print(f"{POINTS:,} points are drawn in {took:.2f} s")
        assert took < float(os.environ.get("PAGE_SECONDS", 1)), took
        browser.shot(page, "million")
        page.click("#runs tbody tr[data-id=damaged]")
        expect(page.locator("#error")).to_contain_text("is not whole")
        page.click("#runs tbody tr[data-id=second]")
        browser.shot(page, "one")
        page.click("#by-time")
        page.click("#log-scale")
        expect(page.locator(".plot canvas[tabindex]").first).to_have_attribute("aria-label", re.compile("at [0-9.]+s"))
        browser.shot(page, "time")
        dark = browser.open(server.address, color_scheme="dark")
        expect(dark.locator(".plot").first).to_be_visible()
        shade = dark.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", shade)[:3])) < 60, shade
        browser.shot(dark, "dark")
        phone = browser.open(server.address, width=400, height=860, has_touch=True)
        expect(phone.locator(".plot").first).to_be_visible()
        assert phone.evaluate("document.documentElement.scrollWidth") <= 400, "nothing is wider than the screen"
        browser.shot(phone, "400", full_page=True)
        browser.close()


def scripts(browser, binary, folder):
    """Texts of any script have their own direction, and nothing is wider than its place."""
    texts = {"plain": "Once upon a time", "hebrew": HEBREW, "arabic": ARABIC, "japanese": JAPANESE, "mixed": f"`{HEBREW}` is not a file"}
    for name, text in texts.items():
        run = folder / "scripts" / f"{name} {text[:60].replace('`', '')}"
        run.mkdir(parents=True)
        inputs = {key: {"value": value, "origin": "given"} for key, value in {"prompt": text, "rate": len(text) * 0.1, "epochs": len(text)}.items()}
        (run / "run.json").write_text(json.dumps({"status": "failed", "error": text, "started_at": f"2020-01-0{len(text) % 9 + 1}T00:00:00Z", "inputs": inputs}))
        (run / "log.txt").write_text("\n".join([*texts.values(), "x" * 500]) + "\n")
        (run / "metrics.jsonl").write_text('{"step":1,"loss":1}\n')
        (run / "samples.jsonl").write_text(json.dumps({"step": 1, "name": HEBREW, "text": "\n".join(texts.values())}) + "\n")
    direction = "(node) => getComputedStyle(node).direction"
    with Program(binary, folder, "ui", "scripts", "--port", "0") as server:
        for width in [1440, 400]:
            page = browser.open(server.address, width=width, height=900)
            rows = page.locator("#runs tbody tr")
            expect(rows).to_have_count(len(texts))
            assert page.evaluate("document.getElementById('runs').offsetWidth <= document.getElementById('list').clientWidth"), "no column is cut"
            page.click("#runs tbody tr[data-id^=mixed]")
            for name in ["hebrew", "japanese"]:
                page.locator(f"#runs tbody tr[data-id^={name}] .swatch").click()
            expect(page.locator("#legend")).to_contain_text(JAPANESE[:20])
            expect(page.locator("#error bdi")).to_have_text(f"`{HEBREW}`")
            page.click("#tab-log")
            lines = page.locator("#lines .row > span")
            expect(lines).to_have_count(len(texts) + 1)
            assert [lines.nth(at).evaluate(direction) for at in range(4)] == ["ltr", "rtl", "rtl", "ltr"]
            tops = page.evaluate("[...document.querySelectorAll('#lines .row')].map((row) => row.firstElementChild.getBoundingClientRect().top - row.getBoundingClientRect().top)")
            assert max(tops) < 2, "a long word begins beside its number"
            for tab in ["inputs", "samples", "charts"]:
                page.click(f"#tab-{tab}")
                page.wait_for_timeout(300)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{tab}: {wide} pixels"
            browser.shot(page, f"scripts-{width}")
        browser.close()


def token(browser, binary, folder):
    with Program(binary, folder, "serve", "--host", "127.0.0.1", "--port", "0", COG_TRAIN_TOKEN="s3cret") as server:
        page = browser.open(server.address)
        expect(page.locator("#token")).to_be_visible()
        for text in ["wrong", "s3cret"]:
            page.fill("#token-text", text)
            page.keyboard.press("Enter")
            page.wait_for_timeout(500)
        expect(page.locator("#runs tbody tr")).to_have_count(4)
        expect(page.locator("#token")).to_be_hidden()
        assert page.evaluate("[localStorage.length, sessionStorage.length]")[1] == 1
        browser.close()
        # A browser reports each answer of 401 on its console.
        browser.wrong = [text for text in browser.wrong if "401" not in text]


def main() -> None:
    binary = pathlib.Path(sys.argv[1]).resolve()
    shots = pathlib.Path(sys.argv[2]).resolve() if len(sys.argv) > 2 else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM"), args=["--no-sandbox"])
        browser = Browser(chromium, shots)
        for part in [live, disk, scripts, token]:
            part(browser, binary, pathlib.Path(folder))
            print(f"{part.__name__}: passed")
        assert not browser.wrong, browser.wrong


if __name__ == "__main__":
    main()
