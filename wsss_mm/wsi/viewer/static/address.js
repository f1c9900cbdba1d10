"use strict";
// The place in the address: #x=1024&y=768&mpp=0.5 is the middle, level-0 px, and um a pixel of the screen. Whoever opens
// it sees the same, however large the window is. #view[data-place] is the place that was gone to, or come to.

{
  const main = document.getElementById("view");
  const read = () => {
    const said = new URLSearchParams(location.hash.slice(1));
    const [x, y, mpp] = ["x", "y", "mpp"].map((name) => Number.parseFloat(said.get(name)));
    return [x, y, mpp].every(Number.isFinite) && mpp > 0 ? { x, y, mpp } : null;
  };

  function go() {
    const place = read();
    if (place === null) return;
    const { viewport } = leader;
    viewport.zoomTo(view.widthUm / (viewport.getContainerSize().x * place.mpp), null, true);
    viewport.panTo(new OpenSeadragon.Point(place.x / view.levelWidth, place.y / view.levelWidth), true);
    viewport.applyConstraints(true);
    main.dataset.place = location.hash;
  }

  function write() {
    const middle = leader.viewport.getCenter(true);
    const [x, y] = [middle.x, middle.y].map((share) => Math.round(share * view.levelWidth));
    history.replaceState(null, "", `#x=${x}&y=${y}&mpp=${Number(perPixel(leader).toPrecision(4))}`);
    main.dataset.place = location.hash;
  }

  for (const viewer of window.viewers) {
    viewer.addHandler("animation-finish", () => viewer === leader && write());
  }
  leader.isOpen() ? go() : leader.addOnceHandler("open", go);
  window.addEventListener("hashchange", go);
}
