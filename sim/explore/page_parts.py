"""What every page about a sweep has in common: how it looks and what its plot does."""

from typing import Final

STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; margin: 1.5rem auto; max-width: 1200px; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; } h3 { font-size: 1rem; margin: .8rem 0 .3rem; }
p { margin: .35rem 0; }
.axes { margin-top: 1rem; } .axes label { margin-right: 1rem; }
.box { border: 1px solid #ccc; border-radius: 6px; padding: .2rem 1rem 1rem; background: #fafafa; }
.figures { color: #555; }
pre { background: white; border: 1px solid #ddd; padding: .6rem; margin: 0; max-height: 22rem; overflow: auto;
      white-space: pre-wrap; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
"""

SCRIPT: Final = """
function start() {
  const plot = document.getElementById("{plot_id}");
  const find = name => document.getElementById(name);
  const data = JSON.parse(find("data").textContent);

  function show(place) {
    const point = data.points[place];
    find("chosen").textContent = point.title;
    find("figures").textContent = point.shown;
    find("command").textContent = point.command;
    find("config").textContent = JSON.stringify(point.config, null, 2);
  }

  function redraw() {
    const x = find("x").value, y = find("y").value;
    const along = name => plot.data.map(trace => Array.from(trace.customdata, place => {
      const value = data.points[place].figures[name];
      return value === undefined ? null : value;
    }));
    Plotly.update(plot, {x: along(x), y: along(y)}, {
      "xaxis.title.text": data.axes[x].title, "xaxis.type": data.axes[x].type, "xaxis.autorange": true,
      "yaxis.title.text": data.axes[y].title, "yaxis.type": data.axes[y].type, "yaxis.autorange": true,
    });
  }

  function copy(button) {
    const source = find(button.dataset.copies);
    const done = () => {
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
    const select = () => {  // pages of a file have no clipboard in some browsers
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (document.execCommand("copy")) done();
    };
    if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(done, select);
    else select();
  }

  plot.on("plotly_click", event => show(event.points[0].customdata));
  for (const name of ["x", "y"]) find(name).addEventListener("change", redraw);
  document.addEventListener("click", event => {
    const button = event.target;
    if (button.dataset.copies) copy(button);
    if (button.dataset.shows) { show(Number(button.dataset.shows)); find("chosen").scrollIntoView({block: "nearest"}); }
  });
  show(0);
}
// The plot may be there before what follows it.
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
else start();
"""
