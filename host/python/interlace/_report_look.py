"""How the page of --report looks, and the little that moves on it."""

_LIGHT = """--page: #f7f8fa; --card: #fff; --ink: #1d2430; --soft: #667085; --line: #dfe3ea; --hot: #d9480f;
  --hotback: #fff4ed; --busy: #2b6cb0; --input: #cfd8e6; --output: #f0b429; --other: #b9b2c9; --starting: #d9c8f2;
  --box: #fff; --flow: #8fa3bf; --depth: #9fc3e8; --rate: #b83280;"""

_DARK = """--page: #14171c; --card: #1a1e25; --ink: #e6e9ef; --soft: #98a2b3; --line: #2c333f; --hot: #ff8a4c;
  --hotback: #2a1d16; --busy: #5aa2e8; --input: #36404f; --output: #d39e22; --other: #5d5670; --starting: #6b5a8c;
  --box: #1f242d; --flow: #5b6f8f; --depth: #2f5a86; --rate: #f687b3;"""

STYLE = f"""
:root, .net {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root:not([data-theme=light]), :root:not([data-theme=light]) .net {{ {_DARK} }} }}
:root[data-theme=dark], :root[data-theme=dark] .net {{ {_DARK} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }}
header, main {{ max-width: 1160px; margin: 0 auto; padding: 0 24px; }}
main {{ padding-bottom: 28px; }}
.bar {{ display: flex; align-items: baseline; gap: 12px; padding: 18px 0 0; }}
.brand {{ font-weight: 700; letter-spacing: .02em; }}
#theme {{ margin-left: auto; font: inherit; font-size: 13px; color: var(--soft); background: none; cursor: pointer;
  border: 1px solid var(--line); border-radius: 6px; padding: 2px 10px; }}
h1 {{ font-size: 20px; font-weight: 600; margin: 14px 0 10px; overflow-wrap: anywhere; }}
h2 {{ font-size: 17px; margin: 0 0 2px; }}
h3 {{ font-size: 14px; margin: 0 0 8px; display: flex; gap: 8px; justify-content: space-between; overflow-wrap: anywhere; }}
h3 small {{ color: var(--soft); font-weight: 400; white-space: nowrap; }}
code, pre {{ font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .92em; }}
.about {{ color: var(--soft); margin: 0 0 12px; font-size: 13.5px; }}
.verdict {{ margin: 0 0 14px; padding: 12px 16px; font-size: 17px; background: var(--hotback);
  border-left: 4px solid var(--hot); border-radius: 0 8px 8px 0; }}
.facts {{ display: flex; flex-wrap: wrap; gap: 10px; }}
.fact {{ flex: 1 1 120px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; }}
.fact b {{ display: block; font-size: 19px; font-variant-numeric: tabular-nums; }}
.fact span {{ color: var(--soft); font-size: 13px; }}
section {{ background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 18px; margin: 14px 0; }}
.across svg, .upright svg {{ display: block; width: 100%; height: auto; margin: 0 auto; }}
.net {{ --page: var(--card); }}
.upright {{ display: none; }}
.stage {{ cursor: pointer; }}
.stage:focus {{ outline: none; }}
.stage:hover .box, .stage:focus .box, .stage.chosen .box {{ stroke: var(--busy); stroke-width: 2.5; }}
.busy {{ fill: var(--busy); }} .input {{ fill: var(--input); }} .output {{ fill: var(--output); }}
.other {{ fill: var(--other); }} .starting {{ fill: var(--starting); }}
.legend {{ list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 12px 0 0; padding: 0;
  font-size: 13px; color: var(--soft); }}
.legend i {{ display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }}
.legend .busy {{ background: var(--busy); }} .legend .input {{ background: var(--input); }}
.legend .output {{ background: var(--output); }} .legend .other {{ background: var(--other); }}
.legend .starting {{ background: var(--starting); }}
.timeline {{ position: relative; }}
.row {{ display: flex; align-items: center; gap: 10px; margin: 3px 0; transition: opacity .15s; }}
.who {{ flex: 0 0 150px; font-size: 13px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }}
.row.failed .who {{ color: var(--hot); font-weight: 600; }}
.strip {{ flex: 1; height: 22px; min-width: 0; border-radius: 4px; background: var(--page); }}
.marks {{ flex: 1; position: relative; height: 18px; font-size: 12px; color: var(--soft); }}
.marks i {{ position: absolute; font-style: normal; border-left: 1px solid var(--line); padding-left: 4px;
  white-space: nowrap; }}
.cursor {{ position: absolute; top: 0; bottom: 18px; width: 0; border-left: 1px solid var(--ink); pointer-events: none; }}
.cursor span {{ position: absolute; top: -20px; left: 0; transform: translateX(-50%); font-size: 12px; padding: 0 6px;
  background: var(--ink); color: var(--card); border-radius: 4px; white-space: nowrap; }}
.choosing .row:not(.chosen):not(.axis), .choosing tr:not(.chosen) {{ opacity: .25; }}
.cards {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 12px; }}
.card {{ border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; min-width: 0; }}
.card.hot {{ border-color: var(--hot); }}
.chart {{ display: block; width: 100%; height: 84px; background: var(--page); border-radius: 4px; }}
.depth {{ fill: var(--depth); }}
.rate, .room {{ fill: none; stroke: var(--rate); stroke-width: 1.6; vector-effect: non-scaling-stroke; }}
.room {{ stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4; opacity: .6; }}
dl {{ display: flex; justify-content: space-between; gap: 2px 10px; margin: 8px 0 0; }}
dt {{ color: var(--soft); font-size: 12px; line-height: 1.3; }}
dd {{ margin: 0; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; font-size: 14px; }}
th:first-child {{ text-align: left; font-weight: 500; }}
thead button {{ font: inherit; font-size: 13px; color: var(--soft); background: none; border: 0; padding: 0; cursor: pointer; }}
thead [aria-sort] button {{ color: var(--ink); font-weight: 600; }}
.bad {{ color: var(--hot); font-size: 12px; }}
details {{ border-top: 1px solid var(--line); padding: 8px 0; }}
summary {{ cursor: pointer; overflow-wrap: anywhere; }}
pre {{ overflow-x: auto; background: var(--page); padding: 12px; border-radius: 6px; font-size: 13px; margin: 8px 0 0; }}
@media (max-width: 700px) {{
  header, main {{ padding-left: 12px; padding-right: 12px; }}
  section {{ padding: 14px 12px; }}
  .across {{ display: none; }}
  .upright {{ display: block; }}
  .who {{ flex-basis: 84px; font-size: 12px; }}
  .verdict {{ font-size: 15.5px; }}
  h1 {{ font-size: 16px; }}
  .cards {{ grid-template-columns: 1fr; }}
}}
@media print {{ #theme {{ display: none; }} section {{ break-inside: avoid; }} }}
"""

_SCRIPT = """
"use strict";
const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

// A stage is chosen, and its workers stand out; once more, and all are as before.
let chosen = null;
function choose(stage) {
  chosen = chosen === stage ? null : stage;
  for (const element of document.querySelectorAll("[data-stage]"))
    element.classList.toggle("chosen", element.dataset.stage === chosen);
  document.body.classList.toggle("choosing", chosen !== null);
}
for (const box of document.querySelectorAll(".stage")) {
  box.addEventListener("click", () => choose(box.dataset.stage));
  box.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(box.dataset.stage); }
  });
}

// The moment under the pointer.
const timeline = document.querySelector(".timeline"), cursor = document.querySelector(".cursor");
timeline.addEventListener("pointermove", event => {
  const marks = timeline.querySelector(".marks").getBoundingClientRect(), all = timeline.getBoundingClientRect();
  const share = (event.clientX - marks.left) / marks.width;
  cursor.hidden = share < 0 || share > 1;
  cursor.style.left = event.clientX - all.left + "px";
  cursor.firstChild.textContent = (share * timeline.dataset.seconds).toFixed(3) + " s";
});
timeline.addEventListener("pointerleave", () => { cursor.hidden = true; });

// A column's head sorts by it: upwards, then downwards.
function value(row, column) {
  const cell = row.cells[column], text = cell.dataset.sort || cell.textContent.trim(), number = parseFloat(text);
  return column === 0 || isNaN(number) ? text : number;
}
for (const button of document.querySelectorAll("thead button"))
  button.addEventListener("click", () => {
    const head = button.parentElement, column = head.cellIndex, body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a, column), y = value(b, column);
      return (x > y ? 1 : x < y ? -1 : 0) * (down ? -1 : 1);
    });
    body.append(...rows);
  });
"""

END = f"</main>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
