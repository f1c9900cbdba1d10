// Rings of areas: how large they are, and the grid on which they are kept.

/** Area of a ring, px. */
export function surface(ring) {
  let twice = 0;
  for (let at = 0; at < ring.length - 1; at += 1) twice += ring[at][0] * ring[at + 1][1] - ring[at + 1][0] * ring[at][1];
  return Math.abs(twice) / 2;
}

/** Polygons on the grid on which they are kept. */
export const tidied = (polygons) => polygons.map((rings) => rings.map((ring) => ring.map((place) => place.map((value) => Math.round(value * 100) / 100))));
