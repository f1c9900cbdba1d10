"use strict";
// Notes on places of the slide, and that it is a bad one. #remarks[data-state] is idle, saving, saved or failed: what
// the page says is written is what the server answered.

{
  const panel = document.getElementById("remarks");
  const byId = (name) => document.getElementById(name);
  const { token, ...first } = JSON.parse(panel.dataset.remarks);
  const pins = [];
  let waiting = null; // a note that was not answered: the same again, under the same name

  const name = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
  const say = (state, text) => {
    panel.dataset.state = state;
    byId("remark-status").textContent = text;
    for (const button of panel.querySelectorAll("button")) button.disabled = state === "saving";
  };

  async function post(path, body) {
    say("saving", "Saving");
    try {
      const headers = { "X-WSSS-Token": token, "Content-Type": "application/json" };
      const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
      const content = await answer.json().catch(() => ({}));
      if (!answer.ok) throw new Error(content.error || `The viewer answered ${answer.status}.`);
      show(content);
      return true;
    } catch (error) {
      const lost = error instanceof TypeError;
      say("failed", lost ? "No connection to the viewer: nothing was saved. Try again when it is back." : error.message);
      return false;
    }
  }

  function show(said) {
    for (const { viewer, element } of pins.splice(0)) viewer.removeOverlay(element);
    byId("notes").replaceChildren(...said.notes.map((note, index) => item(note, index + 1)));
    if (!byId("aside")) return;
    byId("aside").hidden = said.aside === null;
    byId("bad").hidden = said.aside !== null;
    if (said.aside === null) return;
    byId("aside-text").textContent = `Set aside by ${said.aside.reviewer} on ${said.aside.date}: ${said.aside.reason}`;
    byId("take-back").hidden = !said.aside.own;
  }

  function item(note, number) {
    const one = document.createElement("li");
    const go = make("button", note.note, { type: "button", className: "go", title: "Go there" });
    go.addEventListener("click", () => (location.hash = `x=${note.x}&y=${note.y}&mpp=${Number(perPixel(leader).toPrecision(4))}`));
    one.append(go, make("span", ` ${note.reader}, ${note.time.slice(0, 10)} `, { className: "faint" }));
    if (note.reader === first.reader) {
      const gone = make("button", "Delete", { type: "button", className: "gone-note" });
      gone.setAttribute("aria-label", `Delete note ${number}`);
      gone.addEventListener("click", async () => (await post("unsay", { note: note.id })) && say("saved", "Deleted"));
      one.append(gone);
    }
    const location_ = new OpenSeadragon.Point(note.x / view.levelWidth, note.y / view.levelWidth);
    for (const viewer of window.viewers) {
      const element = make("div", String(number), { className: "pin", title: note.note });
      const pin = () => viewer.addOverlay({ element, location: location_, placement: OpenSeadragon.Placement.BOTTOM });
      pins.push({ viewer, element });
      if (viewer.isOpen()) pin();
      else viewer.addOnceHandler("open", pin);
    }
    return one;
  }

  const form = (id, open, field) => {
    byId(id).hidden = !open;
    if (open) byId(field).focus();
  };

  async function saveNote() {
    const middle = leader.viewport.getCenter(true);
    const said = { note: byId("note").value, x: Math.round(middle.x * view.levelWidth), y: Math.round(middle.y * view.levelWidth) };
    if (waiting?.note !== said.note) waiting = { ...said, id: name() };
    if (!(await post("note", waiting))) return;
    waiting = null;
    byId("note").value = "";
    form("note-form", false);
    say("saved", "Note saved");
    byId("write-note").focus();
  }

  byId("write-note").addEventListener("click", () => form("note-form", true, "note"));
  byId("save-note").addEventListener("click", saveNote);
  byId("leave-note").addEventListener("click", () => form("note-form", false));
  byId("note").addEventListener("keydown", (event) => {
    if (event.key === "Escape") form("note-form", false);
    else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      saveNote();
    }
  });
  if (byId("bad")) {
    const setAside = async () => {
      if (!(await post("bad", { reason: byId("reason").value }))) return;
      form("bad-form", false);
      say("saved", "Set aside: it is in the quarantine now");
    };
    byId("bad").addEventListener("click", () => form("bad-form", true, "reason"));
    byId("leave-bad").addEventListener("click", () => form("bad-form", false));
    byId("set-aside").addEventListener("click", setAside);
    byId("reason").addEventListener("keydown", (event) => {
      if (event.key === "Escape") form("bad-form", false);
      else if (event.key === "Enter") setAside();
    });
    byId("take-back").addEventListener("click", async () => (await post("good", {})) && say("saved", "Taken back"));
  }
  show(first);
  panel.dataset.ready = "true";
}
