"use strict";
// What lies under the pointer, or in the middle of the pane that is moved by keys: asked of the server, one place at a
// time. #under[data-at] is the place that its text is about, level-0 px.

const pointed = (() => {
  const line = document.getElementById("under");
  const words = { map: "", confidence: "confidence", truth: "truth:", drawn: "drawn:" };
  const under = { viewer: null, pixel: null };
  let wanted = null;
  let asking = false;

  const place = () => {
    const viewer = under.viewer || leader;
    const pixel = under.viewer ? under.pixel : viewer.viewport.getContainerSize().divide(2);
    const point = viewer.viewport.pointFromPixel(pixel, true);
    return { x: Math.floor(point.x * view.levelWidth), y: Math.floor(point.y * view.levelWidth) };
  };

  function part(text, color) {
    const one = document.createElement("span");
    if (color) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = `rgb(${color.join(", ")})`;
      one.append(swatch);
    }
    one.append(text);
    return one;
  }

  function tell(at, found) {
    const parts = [];
    for (const kind of Object.keys(words)) {
      const what = found[kind];
      if (what === undefined || (what === null && kind !== "map")) continue;
      if (kind === "confidence") parts.push(part(`${words[kind]} ${what.toFixed(2)}`));
      else if (what === null) parts.push(part("Background"));
      else parts.push(part(`${words[kind]} ${what.name}`.trim(), what.color));
    }
    parts.push(part(`x ${at.x}, y ${at.y} px`));
    parts.push(part(`${perPixel(leader).toPrecision(3)} µm/px`));
    line.replaceChildren(...parts);
    line.dataset.at = `${at.x},${at.y}`;
    const code = view.classes.find((one) => one.name === found.map?.name)?.code;
    for (const row of document.querySelectorAll("#classes [data-class]")) row.classList.toggle("here", row.dataset.class === code);
  }

  async function ask() {
    if (asking) return;
    asking = true;
    while (wanted) {
      const at = wanted;
      wanted = null;
      try {
        const answer = await fetch(`at?x=${at.x}&y=${at.y}`);
        tell(at, answer.ok ? await answer.json() : {});
      } catch {
        line.replaceChildren(part("No connection to the viewer"));
      }
    }
    asking = false;
  }

  const look = () => {
    if (!leader.isOpen()) return;
    wanted = place();
    ask();
  };

  for (const viewer of window.viewers) {
    viewer.element.addEventListener("pointermove", (event) => {
      const box = viewer.element.getBoundingClientRect();
      under.viewer = viewer;
      under.pixel = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
      look();
    });
    viewer.element.addEventListener("pointerleave", () => (under.viewer = null));
    viewer.addHandler("animation-finish", look);
    viewer.addHandler("open", look);
  }
  return { place };
})();
