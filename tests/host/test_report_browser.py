"""The page of --report in a browser: what it shows at two widths, and what moves. Skipped where there is none."""

import json
import shutil
import tempfile

from report_support import report
from support import Skip, command, equal

NAMES = ("chromium-headless-shell", "chrome-headless-shell")  # others have no window of 400 pixels

# Put behind the page's own script: tells what it found as JSON in the title, which --dump-dom shows.
PROBE = """
<script>
const found = {};
const shown = element => element.getBoundingClientRect().width > 0;
const all = query => [...document.querySelectorAll(query)];
found.width = innerWidth;
found.scrolls = document.documentElement.scrollWidth > innerWidth;
found.across = shown(document.querySelector(".across svg"));
found.upright = shown(document.querySelector(".upright svg"));
found.errors = 0;
const box = all(".stage").find(element => shown(element) && element.dataset.stage === "work");
box.dispatchEvent(new MouseEvent("click", {bubbles: true}));
found.chosen = all(".row.chosen .who").map(element => element.textContent);
found.faded = getComputedStyle(all(".row:not(.chosen):not(.axis)")[0]).opacity < 1 ||
  document.body.classList.contains("choosing");
box.dispatchEvent(new MouseEvent("click", {bubbles: true}));
found.nothing = all(".chosen").length;
const names = () => all("tbody tr th").map(element => element.firstChild.textContent.trim());
const head = all("thead button")[0];
head.click();
found.up = names();
head.click();
found.down = names();
const before = getComputedStyle(document.body).backgroundColor;
document.getElementById("theme").click();
found.turned = getComputedStyle(document.body).backgroundColor !== before;
const marks = document.querySelector(".marks").getBoundingClientRect();
document.querySelector(".timeline").dispatchEvent(
  new PointerEvent("pointermove", {clientX: marks.left + marks.width / 2, clientY: marks.top, bubbles: true}));
found.cursor = !document.querySelector(".cursor").hidden && document.querySelector(".cursor").textContent;
document.querySelector("details summary").click();
found.open = document.querySelector("details").open;
found.loaded = performance.getEntriesByType("resource").length;
document.body.innerHTML = "<main id=told></main>";
document.getElementById("told").textContent = JSON.stringify(found);
</script>
"""


def browse(path, width):
    """What the probe found in a window of that width."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        raise Skip("there is no browser to look at the page with: ./dev test --browser puts one in")
    page = path.with_name(f"probe-{width}.html")
    text = path.read_text().replace("</body>", PROBE + "</body>")
    page.write_text(text)
    with tempfile.TemporaryDirectory() as profile:
        ended = command(
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            f"--user-data-dir={profile}", f"--window-size={width},900", "--dump-dom", page.as_uri(), limit=120,
        )  # fmt: skip
    assert ended.code == 0 and '<main id="told">' in ended.out, ended.describe()
    told = ended.out.partition('<main id="told">')[2].partition("</main>")[0]
    for escaped, plain in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        told = told.replace(escaped, plain)
    return json.loads(told)


def test_in_a_browser():
    """Wide and narrow: the right drawing, nothing wider than the window; a click chooses a stage, sorts, turns the light."""
    path, _ = report()
    for width in (1280, 400):
        found = browse(path, width)
        equal(found["width"], width)
        equal((found["scrolls"], found["across"], found["upright"]), (False, width > 700, width <= 700))
        equal(found["chosen"], ["work-1", "work-2"])
        equal((found["faded"], found["nothing"]), (True, 0))
        equal(found["up"], sorted(found["up"]))
        equal(found["down"], found["up"][::-1])
        equal((found["turned"], found["open"], found["loaded"]), (True, True, 0))
        assert found["cursor"].endswith(" s"), found
