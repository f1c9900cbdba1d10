"use strict";
// All keys of the page, which do what they say wherever nothing is typed; "?" lists them.

{
  const list = document.getElementById("keys");
  const slides = document.getElementById("slides");
  const press = (id) => document.getElementById(id)?.click();
  const turn = (step) => {
    const option = slides?.options[slides.selectedIndex + step];
    if (option) location.href = option.value;
  };
  const pan = (x, y) => {
    const { viewport } = leader;
    const bounds = viewport.getBounds();
    viewport.panBy(new OpenSeadragon.Point((x * bounds.width) / 4, (y * bounds.height) / 4));
    viewport.applyConstraints();
  };
  const zoom = (by) => {
    leader.viewport.zoomBy(by);
    leader.viewport.applyConstraints();
  };
  const has = (kind) => layered.kinds.includes(kind);
  const wrong = Boolean(document.getElementById("pick"));

  // What is pressed, how it is written, what it does in words, what it does; those that do nothing here are left out.
  const KEYS = [
    ["f", "F", "the map in place of the slide, and back", layered.flip, view.slide],
    ["m", "M", "the map over the slide, or not", () => layered.change("map", "on")],
    ["o", "O", "outlines of the map's classes, or areas", () => layered.change("map", "outlines")],
    ["c", "C", "confidence, or not", () => layered.change("confidence", "on"), has("confidence")],
    ["t", "T", "truth, or not", () => layered.change("truth", "on"), has("truth")],
    ["a", "A", "annotations, or not", () => layered.change("drawn", "on"), has("drawn")],
    ["digit", "1 to 9", "hide that class, or show it", (number) => layered.classes.toggle(number)],
    ["shift digit", "Shift+1 to 9", "that class alone, and back", (number) => layered.classes.solo(number)],
    ["0", "0", "all classes", layered.classes.all],
    ["w", "W", "what is under the pointer is wrong", null, wrong],
    ["n", "N", "write a note on this place", () => press("write-note"), document.getElementById("write-note")],
    ["b", "B", "this is a bad slide", () => press("bad"), document.getElementById("bad")],
    ["+", "+", "nearer", () => zoom(1.5)],
    ["-", "-", "farther", () => zoom(1 / 1.5)],
    ["arrowleft", "←", "to the left", () => pan(-1, 0)],
    ["arrowright", "→", "to the right", () => pan(1, 0)],
    ["arrowup", "↑", "up", () => pan(0, -1)],
    ["arrowdown", "↓", "down", () => pan(0, 1)],
    ["h", "H", "the whole slide", () => leader.viewport.goHome()],
    ["[", "[", "the slide before", () => turn(-1), slides],
    ["]", "]", "the next slide", () => turn(1), slides],
    ["?", "?", "this list", () => list.showModal()],
  ].filter(([, , , , here = true]) => here);
  const by = new Map(KEYS.map(([key, , , act]) => [key, act]));
  by.set("=", by.get("+"));

  for (const [, written, words] of KEYS) {
    const [key, what] = [document.createElement("dt"), document.createElement("dd")];
    key.append(Object.assign(document.createElement("kbd"), { textContent: written }));
    what.textContent = words;
    list.querySelector("dl").append(key, what);
  }
  list.querySelector("button").addEventListener("click", () => list.close());
  document.getElementById("show-keys").addEventListener("click", () => list.showModal());

  document.addEventListener(
    "keydown",
    (event) => {
      const { target } = event;
      const typing = target.tagName === "TEXTAREA" || target.tagName === "SELECT" || /^(text|search)$/.test(target.type);
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing || document.querySelector("dialog[open]")) return;
      if (event.key.startsWith("Arrow") && target.closest("aside")) return; // which it scrolls, or a slider that it moves
      const number = /^(Digit|Numpad)[1-9]$/.test(event.code) ? Number(event.code.slice(-1)) : 0;
      const code = layered.classes.codes[number - 1];
      if (number && code === undefined) return;
      const act = number ? by.get(event.shiftKey ? "shift digit" : "digit") : by.get(event.key.toLowerCase());
      if (!act) return;
      event.preventDefault(); // also what OpenSeadragon does with A, F and R: it pans, mirrors and turns
      event.stopPropagation();
      act(code);
    },
    true,
  );
  document.body.dataset.keys = "ready";
}
