"use strict";
// What lies over the slide, how strongly, and which classes of it are seen. #view[data-layers] is drawing or drawn.
// A tile comes in the colours of its classes; hidden ones and the insides of outlines are taken out of it here.

const layered = (() => {
  const OURS = "wsss-viewer-layers";
  const main = document.getElementById("view");
  const [under] = window.viewers; // the slide with all layers over it, or the map where there is no slide
  const beside = window.viewers[1] || null; // one layer alone
  const kinds = view.layers.map((layer) => layer.kind);
  const shown = Object.fromEntries(
    view.layers.map(({ kind, on, opacity, outlines }) => [kind, { on, opacity, outlines, lines: 100 }]),
  );
  const strength = (layer) => (layer.outlines ? "lines" : "opacity"); // areas and outlines have one each, percent
  const key = ([red, green, blue]) => (red << 16) | (green << 8) | blue;
  const codes = new Map(view.classes.map((one) => [key(one.color), one.code]));
  const hidden = new Set();
  let flipped = false;
  let drawing = 0;

  if (!view.slide) shown.map.opacity = 100;
  try {
    for (const [kind, kept] of Object.entries(JSON.parse(localStorage.getItem(OURS) || "{}"))) {
      if (shown[kind] && (view.slide || kind !== "map")) Object.assign(shown[kind], kept);
    }
  } catch {
    // nothing is kept in this browser, or it is of another version
  }
  function keep() {
    try {
      if (view.slide) localStorage.setItem(OURS, JSON.stringify({ ...JSON.parse(localStorage.getItem(OURS) || "{}"), ...shown }));
    } catch {
      // a browser that keeps nothing
    }
  }

  const kindOf = (item) => /([a-z]+)_files\/$/.exec(item.source.tilesUrl || "")?.[1];
  const itemOf = (viewer, kind) => {
    for (let at = 0; at < viewer.world.getItemCount(); at++) {
      if (kindOf(viewer.world.getItemAt(at)) === kind) return viewer.world.getItemAt(at);
    }
    return null; // not there yet, or it cannot be read
  };

  function repaint(context, outlines) {
    const { width, height } = context.canvas;
    const picture = context.getImageData(0, 0, width, height);
    const bytes = picture.data;
    const pixels = new Uint32Array(bytes.buffer);
    const before = outlines ? pixels.slice() : pixels;
    for (let at = 0, y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        if (!bytes[4 * at + 3]) continue;
        const inner =
          outlines &&
          (x === 0 || before[at - 1] === before[at]) &&
          (x === width - 1 || before[at + 1] === before[at]) &&
          (y === 0 || before[at - width] === before[at]) &&
          (y === height - 1 || before[at + width] === before[at]);
        if (inner || hidden.has(codes.get(key([bytes[4 * at], bytes[4 * at + 1], bytes[4 * at + 2]])))) bytes[4 * at + 3] = 0;
      }
    }
    context.putImageData(picture, 0, 0);
  }

  for (const viewer of window.viewers) {
    viewer.addHandler("tile-invalidated", async (event) => {
      const kind = kindOf(event.tiledImage);
      if (!shown[kind] || kind === "confidence") return;
      const outlines = viewer === under && !flipped && shown[kind].outlines;
      if (!outlines && !hidden.size) return;
      const context = await event.getData("context2d");
      if (!context || (await event.outdated())) return;
      repaint(context, outlines);
      await event.setData(context, "context2d");
    });
  }

  // Opacities are set at once; `tiles` says that what tiles show has changed too.
  async function draw(tiles = true) {
    const now = ++drawing;
    main.dataset.layers = "drawing";
    for (const kind of kinds) {
      const layer = shown[kind];
      const share = flipped ? Number(kind === "map") : layer.on ? layer[strength(layer)] / 100 : 0;
      itemOf(under, kind)?.setOpacity(share);
      if (beside) itemOf(beside, kind)?.setOpacity(Number(kind === alone()));
    }
    main.dataset.flipped = String(flipped);
    if (tiles) await Promise.all(window.viewers.map((viewer) => viewer.requestInvalidate(true)));
    if (now === drawing) main.dataset.layers = "drawn";
  }

  const alone = () => document.getElementById("alone")?.value || "map";

  for (const row of document.querySelectorAll("[data-kind]")) {
    const layer = shown[row.dataset.kind];
    const [on, outlines, slider, percent] = ["on", "outlines", "opacity", "percent"].map((name) => row.querySelector(`.${name}`));
    const tell = () => {
      on.checked = layer.on;
      if (outlines) outlines.checked = layer.outlines;
      slider.value = layer[strength(layer)];
      percent.textContent = `${slider.value} %`;
    };
    row.addEventListener("input", (event) => {
      if (event.target === outlines) layer.outlines = outlines.checked;
      else if (event.target === on) layer.on = on.checked;
      else [layer[strength(layer)], layer.on] = [Number(slider.value), true];
      tell();
      keep();
      draw(event.target === outlines);
    });
    layer.tell = tell;
    tell();
  }
  for (const layer of Object.values(shown)) Object.defineProperty(layer, "tell", { enumerable: false });

  // Classes: shown or hidden, or one alone.
  const rows = [...document.querySelectorAll("#classes [data-class]")];
  const all = document.getElementById("all-classes");
  function tellClasses() {
    for (const row of rows) {
      const gone = hidden.has(row.dataset.class);
      row.classList.toggle("gone", gone);
      row.querySelector(".class").setAttribute("aria-pressed", String(!gone));
      row.querySelector(".solo").setAttribute("aria-pressed", String(!gone && hidden.size === rows.length - 1));
    }
    all.hidden = !hidden.size;
    draw();
  }
  const classes = {
    toggle(code) {
      if (!hidden.delete(code)) hidden.add(code);
      tellClasses();
    },
    solo(code) {
      const others = rows.map((row) => row.dataset.class).filter((one) => one !== code);
      const already = !hidden.has(code) && hidden.size === others.length;
      hidden.clear();
      if (!already) others.forEach((one) => hidden.add(one));
      tellClasses();
    },
    all() {
      hidden.clear();
      tellClasses();
    },
    codes: rows.map((row) => row.dataset.class),
  };
  for (const row of rows) {
    row.querySelector(".class").addEventListener("click", () => classes.toggle(row.dataset.class));
    row.querySelector(".solo").addEventListener("click", () => classes.solo(row.dataset.class));
  }
  all.addEventListener("click", classes.all);

  document.getElementById("alone")?.addEventListener("change", () => draw(false));
  const flip = () => {
    flipped = !flipped;
    document.getElementById("flip").setAttribute("aria-pressed", String(flipped));
    document.getElementById("seen").textContent = flipped ? "Map" : "Slide";
    draw(shown.map.outlines);
  };
  document.getElementById("flip")?.addEventListener("click", flip);
  const change = (kind, name) => {
    const layer = shown[kind];
    if (!layer || (name === "outlines" && kind === "confidence")) return;
    layer[name] = !layer[name];
    if (name === "outlines") layer.on = true;
    layer.tell();
    keep();
    draw(name === "outlines");
  };

  // a pane may have opened already, or open a layer later
  for (const viewer of window.viewers) viewer.world.addHandler("add-item", () => draw(false));
  draw(false);
  return { classes, flip, change, kinds };
})();
