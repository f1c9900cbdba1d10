"use strict";
// Slides found by words, and put into order. #slides[data-shown] is how many are shown, #slides[data-order] by what.

{
  const byId = (name) => document.getElementById(name);
  const main = byId("slides");
  const [search, sort, order, only] = ["search", "sort", "order", "only"].map(byId);
  const cards = [...main.children].map((element) => {
    const facts = JSON.parse(element.dataset.card);
    return { element, facts, text: facts.text.toLowerCase() };
  });
  const names = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const said = (by, down) => (by === "name" ? (down ? "Z to A" : "A to Z") : down ? "largest first" : "smallest first");
  let down = false;
  let before = "name up";

  function put() {
    const by = sort.value;
    if (before === `${by} ${down ? "down" : "up"}`) return;
    before = `${by} ${down ? "down" : "up"}`;
    order.textContent = said(by, down);
    const value = ({ facts }) => facts[by] ?? null;
    const turned = down ? -1 : 1;
    cards.sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      const named = names.compare(one.facts.name, other.facts.name);
      if (by === "name") return turned * named;
      if (a === null || b === null) return Number(a === null) - Number(b === null) || named; // what has none comes last
      return turned * (a - b) || named;
    });
    main.append(...cards.map((card) => card.element));
  }

  function show() {
    put();
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { element, facts, text } of cards) {
      const fits = words.every((word) => text.includes(word)) && (!only.value || facts[only.value]);
      element.hidden = !fits;
      shown += Number(fits);
    }
    byId("count").textContent = shown === cards.length ? `${shown} slides` : `${shown} of ${cards.length} slides`;
    main.dataset.shown = shown;
    main.dataset.order = before;
  }

  search.addEventListener("input", show);
  only.addEventListener("change", show);
  sort.addEventListener("change", () => {
    down = sort.value !== "name"; // what is large is looked at first
    show();
  });
  order.addEventListener("click", () => {
    down = !down;
    show();
  });
  byId("tools").hidden = false;
  show();
}
