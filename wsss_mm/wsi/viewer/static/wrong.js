"use strict";
// "This is wrong here": a patch is picked on slide or map, and what it holds is kept in the reader's journal.
// #wrong[data-state] is idle, picking, picked, saving, saved, undone or failed: what the page says is on the disk is.

{
  const NEXT = { "": "present", present: "unsure", unsure: "" };
  const panel = document.getElementById("wrong");
  const told = JSON.parse(panel.dataset.wrong);
  const byId = (name) => document.getElementById(name);
  const classes = [...byId("wrong-classes").children];
  const marks = window.viewers.map((viewer) => ({ viewer, element: null }));
  let place = null;
  let since = 0;
  let last = null;
  let waiting = null; // a request that was not answered: the same again, under the same name

  const say = (state, text) => {
    panel.dataset.state = state;
    byId("wrong-status").textContent = text;
    byId("said").hidden = place === null;
    byId("wrong-undo").hidden = !last || place !== null || state === "saving";
    byId("pick").setAttribute("aria-pressed", String(state === "picking"));
    document.body.classList.toggle("picking", state === "picking");
    for (const name of ["keep", "mark", "leave"]) byId(name).disabled = state === "saving";
  };
  const name = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");

  async function ask(path, body) {
    const headers = { "X-WSSS-Token": told.token, "Content-Type": "application/json" };
    const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : {};
    let answer;
    try {
      answer = await fetch(path, options);
    } catch {
      throw new Error("No connection to the viewer: nothing was saved. Try again when it is back.");
    }
    const content = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(content.error || `The viewer answered ${answer.status}.`);
    return content;
  }

  function outline() {
    for (const mark of marks) {
      if (mark.element) mark.viewer.removeOverlay(mark.element);
      mark.element = null;
      if (place === null) continue;
      mark.element = document.createElement("div");
      mark.element.className = "picked";
      const [x, y, side] = [place.x, place.y, place.side].map((value) => value / view.levelWidth);
      mark.viewer.addOverlay({ element: mark.element, location: new OpenSeadragon.Rect(x, y, side, side) });
    }
  }

  function show(button, state) {
    button.dataset.said = state;
    button.querySelector("b").textContent = state;
    button.setAttribute("aria-pressed", { "": "false", present: "true", unsure: "mixed" }[state]);
  }

  async function pick(viewer, pixel) {
    const point = viewer.viewport.pointFromPixel(pixel, true);
    const [x, y] = [point.x * view.levelWidth, point.y * view.levelWidth];
    let found;
    try {
      found = await ask(`patch?x=${x}&y=${y}`);
    } catch (error) {
      return say("failed", error.message);
    }
    place = found.place && { ...found.place, at: { x, y } };
    waiting = null;
    outline();
    if (place === null) return say("picking", "No patch with enough tissue lies there; choose another place.");
    classes.forEach((button) => show(button, ""));
    byId("again").checked = false;
    byId("wrong-patch").textContent = found.patch_id;
    since = performance.now();
    say("picked", "");
    classes[0].focus();
  }

  function leave() {
    place = null;
    outline();
    say("idle", "");
    byId("pick").focus();
  }

  async function send(answered, again) {
    const states = Object.fromEntries(classes.map((button) => [button.dataset.code, button.dataset.said || "absent"]));
    const said = { ...place.at, again, classes: answered ? states : {} };
    if (JSON.stringify(said) !== waiting?.said) waiting = { said: JSON.stringify(said), id: name() };
    say("saving", "Saving");
    try {
      const seconds = (performance.now() - since) / 1000;
      const kept = await ask("wrong", { ...said, seconds, id: waiting.id });
      last = kept.saved;
      waiting = place = null;
      outline();
      say("saved", answered ? `Saved in ${kept.journal}` : `Saved in ${kept.journal}: it comes first when labels are given next`);
      byId("pick").focus();
    } catch (error) {
      say("failed", error.message);
    }
  }

  async function undo() {
    say("saving", "Taking back");
    try {
      await ask("undo", { id: name(), of: last });
      last = null;
      say("undone", "Taken back");
      byId("pick").focus();
    } catch (error) {
      say("failed", error.message);
    }
  }

  const under = { viewer: null, pixel: null };
  for (const { viewer } of marks) {
    viewer.addHandler("canvas-click", (event) => {
      if (panel.dataset.state !== "picking") return;
      event.preventDefaultAction = true;
      pick(viewer, event.position);
    });
    viewer.element.addEventListener("pointermove", (event) => {
      const box = viewer.element.getBoundingClientRect();
      under.viewer = viewer;
      under.pixel = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
    });
    viewer.element.addEventListener("pointerleave", () => (under.viewer = null));
  }
  const middle = (viewer) => viewer.viewport.getContainerSize().divide(2);

  byId("pick").addEventListener("click", () => {
    if (panel.dataset.state === "saving") return;
    if (place !== null) leave();
    say(panel.dataset.state === "picking" ? "idle" : "picking", "");
  });
  classes.forEach((button) => button.addEventListener("click", () => show(button, NEXT[button.dataset.said])));
  byId("keep").addEventListener("click", () => send(true, byId("again").checked));
  byId("mark").addEventListener("click", () => send(false, true));
  byId("leave").addEventListener("click", leave);
  byId("wrong-undo").addEventListener("click", undo);

  const presses = (target) => target.closest("button, a, summary") !== null && !classes.includes(target); // Enter is theirs
  document.addEventListener(
    "keydown",
    (event) => {
      const taken = event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (taken && event.key !== "Escape") return;
      if (panel.dataset.state === "saving" || document.querySelector("dialog[open]")) return;
      const number = Number(event.code.replace(/^(Digit|Numpad)/, ""));
      if (event.key.toLowerCase() === "w") {
        const viewer = under.viewer || window.viewers[window.viewers.length - 1];
        pick(viewer, under.viewer ? under.pixel : middle(viewer));
      } else if (place !== null && number >= 1 && number <= classes.length) classes[number - 1].click();
      else if (place !== null && event.key === "Enter" && !presses(event.target)) send(true, byId("again").checked);
      else if (event.key === "Escape" && (place !== null || panel.dataset.state === "picking")) leave();
      else return;
      event.preventDefault(); // also what OpenSeadragon does with W: it pans
      event.stopPropagation();
    },
    true,
  );
  for (const button of classes) show(button, "");
  Promise.all(marks.map(({ viewer }) => viewer.isOpen() || new Promise((open) => viewer.addOnceHandler("open", open)))).then(
    () => (panel.dataset.ready = "true"),
  );
}
