"use strict";
// Slide and map side by side: the pane under the pointer leads, the other follows.

const view = JSON.parse(document.getElementById("view").dataset.view);
OpenSeadragon.setString("Errors.OpenFailed", "This cannot be opened: its file is damaged, or gone.");
const viewers = [];
let leader = null;

const layerSource = ({ kind }) => ({ tileSource: `${kind}.dzi`, width: view.mapWidth, opacity: 0 });

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
  const bar = document.createElement("div");
  bar.className = "scale";
  element.parentElement.append(bar);
  const moved = () => {
    drawScale(viewer, bar);
    follow(viewer);
  };
  viewer.addHandler("viewport-change", moved);
  viewer.addHandler("open", () => {
    moved();
    if (leader.isOpen()) follow(leader); // which may have gone somewhere before this one was there
  });
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
}

// um a pixel of the screen. World width 1 is view.widthUm.
function perPixel(viewer) {
  return view.widthUm / (viewer.viewport.getContainerSize().x * viewer.viewport.getZoom(true));
}

// A bar of 1, 2 or 5 times a power of ten, at most 160 px long.
function drawScale(viewer, bar) {
  const um = perPixel(viewer);
  const power = 10 ** Math.floor(Math.log10(160 * um));
  const length = power * [5, 2, 1].find((step) => step * power <= 160 * um);
  bar.style.width = `${length / um + 12}px`;
  bar.textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
}

const layers = view.layers.map(layerSource);
const labels = { imageSmoothingEnabled: false };
if (view.slide) {
  const slide = { tileSource: "slide.dzi", width: 1 };
  open("slide", [slide, ...layers], { showNavigator: true, navigatorPosition: "TOP_RIGHT" });
}
open("map", layers, { showNavigator: !view.slide, ...labels });

document.getElementById("slides")?.addEventListener("change", (event) => (location.href = event.target.value));
window.viewers = viewers;
