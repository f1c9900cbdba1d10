"use strict";
// Slide and map side by side: the pane under the pointer leads, the other follows.

const view = JSON.parse(document.getElementById("view").dataset.view);
const viewers = [];
let leader = null;

function open(id, tileSources, options) {
  const element = document.getElementById(id);
  const viewer = OpenSeadragon({
    element,
    prefixUrl: "../../openseadragon/images/",
    tileSources,
    drawer: "canvas",
    maxZoomPixelRatio: 8,
    minZoomImageRatio: 0.8,
    animationTime: 0.5,
    ...options,
  });
  for (const event of ["pointerenter", "pointerdown", "wheel", "focusin"]) {
    element.addEventListener(event, () => (leader = viewer), { capture: true, passive: true });
  }
  viewer.addHandler("viewport-change", () => follow(viewer));
  viewer.addHandler("open", () => follow(viewer));
  viewers.push(viewer);
  leader = leader || viewer;
  return viewer;
}

function follow(viewer) {
  if (viewer !== leader) return;
  for (const other of viewers) {
    if (other !== leader && other.isOpen()) {
      other.viewport.zoomTo(leader.viewport.getZoom(true), null, true);
      other.viewport.panTo(leader.viewport.getCenter(true), true);
    }
  }
  drawScale();
}

// A bar of 1, 2 or 5 times a power of ten, at most 160 px long. World width 1 is view.widthUm.
const scale = document.createElement("div");
scale.className = "scale";

function drawScale() {
  const perPixel = view.widthUm / (leader.viewport.getContainerSize().x * leader.viewport.getZoom(true));
  const most = 160 * perPixel;
  const power = 10 ** Math.floor(Math.log10(most));
  const length = power * [5, 2, 1].find((step) => step * power <= most);
  scale.style.width = `${length / perPixel + 12}px`;
  scale.textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
}

const map = { tileSource: "map.dzi", width: view.mapWidth };
const sure = { tileSource: "confidence.dzi", width: view.mapWidth, opacity: 0 };
const layers = view.confidence ? [map, sure] : [map];
const last = open("map", layers, { showNavigator: !view.slide, imageSmoothingEnabled: false });
if (view.confidence) {
  const box = document.getElementById("confidence");
  const toggle = () => {
    const layer = last.world.getItemAt(1);
    if (!layer) return;
    layer.setOpacity(box.checked ? 1 : 0);
    last.element.dataset.layer = box.checked ? "confidence" : "map";
  };
  box.addEventListener("change", toggle);
  last.world.addHandler("add-item", toggle); // a browser may have kept the box as it was
}
document.getElementById("map").parentElement.append(scale);
if (view.slide) {
  const slide = open("slide", [{ tileSource: "slide.dzi", width: 1 }, { ...map, opacity: 0 }], {
    showNavigator: true,
    navigatorPosition: "TOP_RIGHT",
  });
  leader = slide;
  const slider = document.getElementById("opacity");
  const show = () => {
    document.getElementById("percent").textContent = `${slider.value} %`;
    const item = slide.world.getItemAt(1);
    if (item) item.setOpacity(slider.value / 100);
  };
  slider.addEventListener("input", show);
  slide.world.addHandler("add-item", show);
}

document.getElementById("slides")?.addEventListener("change", (event) => (location.href = event.target.value));
window.viewers = viewers;
