// A graph of the last minute as SVG: one or two lines over time, from 0 to the next round number above the
// highest value, a gap where nothing is known.
const WIDTH = 300, HEIGHT = 90, LEFT = 2, TOP = 14, BOTTOM = 76;
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const out = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
  if (text !== undefined) out.textContent = text;
  return out;
}

// 1, 2 or 5 times a power of ten.
export function roundUp(value, least) {
  if (!(value > least)) return least;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value);
}

// The path of `values` ([time, value or null] pairs) for times from `from` to `to`.
export function line(values, from, to, highest) {
  let out = "", drawn = false;
  for (const [time, value] of values) {
    if (value === null || time < from) {
      drawn = false;
      continue;
    }
    const x = LEFT + (time - from) / (to - from) * (WIDTH - LEFT);
    const y = BOTTOM - Math.min(value / highest, 1) * (BOTTOM - TOP);
    out += `${drawn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    drawn = true;
  }
  return out;
}

export const shown = (value, unit) =>
  value === null || value === undefined ? "not known" : `${value >= 100 ? Math.round(value) : Number(value.toPrecision(2))} ${unit}`;

// An empty graph. `draw(series, now)` fills it: series are {name, values}, times in ms.
export function makeGraph(title, unit, least, seconds) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "graph", role: "img", "aria-label": title });
  const top = element("text", { x: LEFT, y: 10, class: "axis" });
  const lines = [0, 1].map((i) => element("path", { class: `line line${i}` }));
  svg.append(
    element("path", { d: `M${LEFT} ${TOP}H${WIDTH}M${LEFT} ${(TOP + BOTTOM) / 2}H${WIDTH}M${LEFT} ${BOTTOM}H${WIDTH}`, class: "grid" }),
    ...lines, top,
    element("text", { x: LEFT, y: HEIGHT - 3, class: "axis" }, `${seconds} s ago`),
    element("text", { x: WIDTH, y: HEIGHT - 3, class: "axis", "text-anchor": "end" }, "now"));
  const draw = (series, now) => {
    const known = series.flatMap((one) => one.values).filter(([time, value]) => value !== null && time >= now - seconds * 1000);
    const highest = roundUp(Math.max(0, ...known.map(([, value]) => value)), least);
    top.textContent = `${highest} ${unit}`;
    series.forEach((one, i) => lines[i].setAttribute("d", line(one.values, now - seconds * 1000, now, highest)));
    const last = series.map((one) => `${one.name} ${shown(one.values.at(-1)?.[1], unit)}`).join(", ");
    svg.setAttribute("aria-label", `${title}: ${last}`);
  };
  return { svg, draw };
}
