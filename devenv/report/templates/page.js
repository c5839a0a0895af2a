"use strict";
// The values of all clients at the time under the pointer, and a line through all strips there.
(() => {
  const pointer = document.getElementById("pointer");
  const COLUMNS = 1000;
  const say = (seconds) => seconds < 1 ? `${+(seconds * 1000).toPrecision(3)} ms` : `${seconds.toFixed(2)} s`;

  const read = (strip) => ({
    client: strip.dataset.client,
    plot: strip.querySelector(".plot"),
    ok: (strip.querySelector(".ok")?.dataset.values || "").split(",").filter(Boolean)
      .map((pair) => pair.split(" ").map(Number)),
    others: [...strip.querySelectorAll("use.failed, use.info")].map((mark) =>
      [parseFloat(mark.getAttribute("x")) * COLUMNS / 100, mark.querySelector("title").textContent]),
  });
  const nearest = (pairs, column, reach) => {
    let best = null;
    for (const pair of pairs) {
      const away = Math.abs(pair[0] - column);
      if (away <= reach && (!best || away < Math.abs(best[0] - column))) best = pair;
    }
    return best;
  };

  for (const figure of document.querySelectorAll(".figure")) {
    let strips = null;
    const line = document.createElement("div");
    line.className = "cursor";
    line.hidden = true;
    figure.append(line);
    const hide = () => { line.hidden = pointer.hidden = true; };
    figure.addEventListener("pointerleave", hide);
    figure.addEventListener("pointermove", (event) => {
      strips ??= [...figure.querySelectorAll(".strip[data-client]")].map(read);
      const box = strips[0]?.plot.getBoundingClientRect();
      const at = box ? (event.clientX - box.left) / box.width : -1;
      if (at < 0 || at > 1) return hide();
      const outer = figure.getBoundingClientRect();
      line.hidden = pointer.hidden = false;
      line.style.left = `${event.clientX - outer.left}px`;
      const rows = [[`${(at * Number(figure.dataset.end)).toFixed(2)} s`, ""]];
      for (const strip of strips) {
        const column = at * COLUMNS;
        const mark = nearest(strip.others, column, 4);
        const ok = nearest(strip.ok, column, 12);
        rows.push([strip.client, mark ? mark[1] : ok ? say(ok[1]) : "nothing"]);
      }
      pointer.replaceChildren(...rows.flatMap(([name, value]) => {
        const [left, right] = [document.createElement("span"), document.createElement("b")];
        left.textContent = name;
        right.textContent = value;
        return [left, right];
      }));
      const wide = pointer.offsetWidth;
      const left = event.clientX + 18 + wide > innerWidth ? event.clientX - 18 - wide : event.clientX + 18;
      pointer.style.left = `${Math.max(4, left)}px`;
      pointer.style.top = `${Math.min(event.clientY + 18, innerHeight - pointer.offsetHeight - 4)}px`;
    });
  }

  // A test that a link leads to is unfolded; on paper everything is, but logs.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const folded = target && target.querySelector("details");
    if (folded) folded.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("article > details, details.inner:not(.log)")) one.open = true;
  });
})();
