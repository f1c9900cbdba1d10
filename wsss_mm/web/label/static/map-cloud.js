// The points of the map, by row: which one is near a place, and which lie inside a polygon.

const CELL = 1 / 128; // of the grid in which the point under the mouse is looked up

export class Cloud {
  /** `points`: x and y of each row in turn. */
  constructor(points) {
    this.points = points;
    this.grid = new Map();
    for (let row = 0; row < points.length / 2; row += 1) {
      const key = cellOf(points[2 * row], points[2 * row + 1]);
      const rows = this.grid.get(key);
      if (rows) rows.push(row);
      else this.grid.set(key, [row]);
    }
    this.extent = extentOf(points);
  }

  /** The row nearest to a place, no farther than `most`, of those that are shown; null if there is none. */
  nearest([x, y], most, isShown) {
    const reach = Math.min(6, Math.ceil(most / CELL));
    let best = null;
    let least = most ** 2;
    for (let dx = -reach; dx <= reach; dx += 1) {
      for (let dy = -reach; dy <= reach; dy += 1) {
        for (const row of this.grid.get(cellOf(x + dx * CELL, y + dy * CELL)) ?? []) {
          if (!isShown[row]) continue;
          const far = (this.points[2 * row] - x) ** 2 + (this.points[2 * row + 1] - y) ** 2;
          if (far < least) [best, least] = [row, far];
        }
      }
    }
    return best;
  }

  /** Rows inside a polygon. */
  *inside(polygon) {
    const [xs, ys] = [polygon.map(([x]) => x), polygon.map(([, y]) => y)];
    const box = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    for (let row = 0; row < this.points.length / 2; row += 1) {
      const [x, y] = [this.points[2 * row], this.points[2 * row + 1]];
      if (x < box[0] || x > box[1] || y < box[2] || y > box[3]) continue;
      if (isInside(x, y, polygon)) yield row;
    }
  }
}

const cellOf = (x, y) => Math.floor(x / CELL) * 4096 + Math.floor(y / CELL);

/** The box that holds all points, and is never without width. */
function extentOf(points) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let at = 0; at < points.length; at += 2) {
    x0 = Math.min(x0, points[at]);
    x1 = Math.max(x1, points[at]);
    y0 = Math.min(y0, points[at + 1]);
    y1 = Math.max(y1, points[at + 1]);
  }
  return x1 - x0 > 1e-6 && y1 - y0 > 1e-6 ? [x0, x1, y0, y1] : [0, 1, 0, 1];
}

function isInside(x, y, polygon) {
  let is = false;
  for (let at = 0, before = polygon.length - 1; at < polygon.length; before = at, at += 1) {
    const [xa, ya] = polygon[at];
    const [xb, yb] = polygon[before];
    if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) is = !is;
  }
  return is;
}
