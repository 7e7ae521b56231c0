// Asks bondd for news and shows it. Nothing is written into the page but as text.
import { makeGraph, shown } from "./graph.js";
import { drawPath, isHeard } from "./picture.js";

const EVERY_MS = 250; // news comes each second, and at once when something changed
const SECONDS = 60;
const PATIENCE_MS = 4000; // without news before the page says so
const EVENTS_SHOWN = 50;

const id = (name) => document.getElementById(name);
let site = null, samples = [], events = [], lastSample = 0, lastEvent = 0, lastNews = Date.now();
const cards = new Map();

function node(kind, text, className) {
  const out = document.createElement(kind);
  if (text !== undefined) out.textContent = text;
  if (className) out.className = className;
  return out;
}

const timeOf = (text) => (text ? new Date(text).toLocaleString() : "");

function bytes(value) {
  if (value === null || value === undefined) return "not known";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let n = 0;
  for (; value >= 1000 && n < units.length - 1; ++n) value /= 1000;
  return `${value.toFixed(n === 0 || value >= 100 ? 0 : 1)} ${units[n]}`;
}

// What this end receives is the office's download, and the server's upload.
const directions = (role) => (role === "client" ? ["down", "up"] : ["from the office", "to the office"]);

function makeCard(wan, role) {
  const [inward, outward] = directions(role);
  const card = node("article", undefined, "card");
  card.dataset.wan = wan.name;
  const title = node("h3", wan.name);
  title.id = `wan-${wan.name}`;
  card.setAttribute("aria-labelledby", title.id);
  const state = node("p", "", "state"), why = node("p", "", "why"), figures = node("dl");
  const graphs = {
    rate: makeGraph(`${wan.name}, rate`, "Mbit/s", 0.1, SECONDS),
    rtt: makeGraph(`${wan.name}, latency`, "ms", 10, SECONDS),
    loss: makeGraph(`${wan.name}, packet loss`, "%", 1, SECONDS),
  };
  const figure = (name, graph, legend) => {
    const out = node("figure");
    const caption = node("figcaption", name);
    for (const [i, word] of (legend ?? []).entries()) caption.append(node("span", word, `key key${i}`));
    out.append(caption, graph.svg);
    return out;
  };
  card.append(title, state, why, figure("Rate", graphs.rate, [inward, outward]), figure("Latency", graphs.rtt),
    figure("Packet loss", graphs.loss), figures);
  return { card, state, why, figures, graphs };
}

function fillCard(parts, wan, role, now) {
  const [inward, outward] = directions(role);
  const values = (key) => samples.map((sample) => [sample.time_ms, sample.wans[wan.name]?.[key] ?? null]);
  parts.state.textContent = wan.since ? `${wan.state} since ${timeOf(wan.since)}` : wan.state;
  parts.state.className = `state ${wan.state === "up" ? "good" : isHeard(wan) ? "fair" : "bad"}`;
  parts.why.textContent = [wan.reason, wan.explanation].filter(Boolean).join("; ");
  parts.graphs.rate.draw([{ name: inward, values: values("rx_mbit") }, { name: outward, values: values("tx_mbit") }], now);
  parts.graphs.rtt.draw([{ name: "latency", values: values("rtt_ms") }], now);
  parts.graphs.loss.draw([{ name: "loss", values: values("loss_percent") }], now);
  const last = samples.at(-1)?.wans[wan.name] ?? {};
  const rows = [
    ["Now", `${shown(last.rx_mbit, "Mbit/s")} ${inward}, ${shown(last.tx_mbit, "Mbit/s")} ${outward}`],
    ["Can carry", `${shown(wan.rx_capacity_mbit, "Mbit/s")} ${inward}, ${shown(wan.capacity_mbit, "Mbit/s")} ${outward}`],
    ["Latency", shown(wan.rtt_ms, "ms")],
    ["Packet loss", `${shown(wan.loss_percent, "%")} ${inward}, ${shown(wan.tx_loss_percent, "%")} ${outward}`],
    ["Share", shown(wan.share_percent, "%")],
    ["Today", `${bytes(wan.today_rx_bytes)} ${inward}, ${bytes(wan.today_tx_bytes)} ${outward}`],
  ];
  parts.figures.replaceChildren(...rows.flatMap(([name, value]) => [node("dt", name), node("dd", value)]));
}

function showLines(status, now) {
  const names = status.wans.map((wan) => wan.name);
  if (names.join("\n") !== [...cards.keys()].join("\n")) {
    cards.clear();
    for (const wan of status.wans) cards.set(wan.name, makeCard(wan, status.role));
    id("lines").replaceChildren(...[...cards.values()].map((parts) => parts.card));
  }
  for (const wan of status.wans) fillCard(cards.get(wan.name), wan, status.role, now);
}

function showProblems(status) {
  const entries = status.problems.map((problem) => {
    const item = node("li", undefined, problem.severity);
    item.append(node("b", `${problem.severity}${problem.wan ? `, ${problem.wan}` : ""}: `), node("span", problem.text));
    if (problem.remedy) item.append(node("p", problem.remedy, "remedy"));
    return item;
  });
  const named = new Set(status.problems.map((problem) => problem.text));
  for (const text of status.warnings) if (!named.has(text)) entries.push(node("li", text, "warning"));
  id("problems").replaceChildren(...(entries.length > 0 ? entries : [node("li", "Nothing.", "none")]));
}

function matchText(match) {
  const words = [match.proto.toUpperCase()];
  if (match.dport) words.push(`to port ${match.dport}`);
  if (match.sport) words.push(`from port ${match.sport}`);
  if (match.source) words.push(`from ${match.source}`);
  if (match.destination) words.push(`to ${match.destination}`);
  return words.join(" ");
}

function showSteering() {
  const rows = [];
  for (const policy of site.policies)
    rows.push([`${policy.name}: ${policy.match.map(matchText).join(", or ")}`, `${policy.wan}, outside the bond`]);
  for (const network of site.through_bond) rows.push([network === "0.0.0.0/0" ? "everything else" : network, "the bond"]);
  for (const forward of site.forwards)
    rows.push([`${forward.proto.toUpperCase()} to port ${forward.port} of the VPS`, `the bond, to ${forward.to} port ${forward.to_port}`]);
  id("steering").replaceChildren(...rows.map((cells) => {
    const row = node("tr");
    row.append(...cells.map((text) => node("td", text)));
    return row;
  }));
}

function showEvents() {
  const changed = (event) => [event.from, event.to].map((word) => word || "none").join(" → ");
  id("events").replaceChildren(...events.slice(-EVENTS_SHOWN).reverse().map((event) => {
    const row = node("tr");
    row.append(node("td", timeOf(event.time)), node("td", event.wan || event.event), node("td", changed(event)), node("td", event.reason));
    return row;
  }));
}

function showHead(status) {
  document.title = `${status.name}: ${status.state} (bondd)`;
  id("site").textContent = status.name;
  const text = status.since ? `${status.state} since ${timeOf(status.since)}` : status.state;
  if (id("state").textContent !== text) id("state").textContent = text;
  id("state").className = `state ${{ up: "good", degraded: "fair", down: "bad" }[status.state]}`;
  id("facts").textContent = `${status.role}, ${status.backend}, ${status.bond.interface}: ` +
    `${bytes(status.bond.rx_bytes)} in, ${bytes(status.bond.tx_bytes)} out`;
  id("version").textContent = `bondd ${status.version}`;
}

function showSilence() {
  const silent = Date.now() - lastNews > PATIENCE_MS;
  id("silent").hidden = !silent;
  if (silent) id("silent").textContent = `bondd does not answer since ${new Date(lastNews).toLocaleTimeString()}; what stands below is old.`;
}

async function get(path) {
  const reply = await fetch(path, { cache: "no-store" });
  if (reply.status === 401) location.reload();
  if (!reply.ok) throw new Error(`${path}: ${reply.status}`);
  return reply.json();
}

function take(live) {
  samples = samples.concat(live.samples).filter((sample) => sample.time_ms > live.time_ms - 2 * SECONDS * 1000);
  lastSample = samples.at(-1)?.number ?? lastSample;
  if (live.events.length > 0) {
    events = events.concat(live.events).slice(-EVENTS_SHOWN);
    lastEvent = events.at(-1).number;
    showEvents();
  }
}

async function turn() {
  try {
    const live = await get(`api/v1/live?sample=${lastSample}&event=${lastEvent}`);
    const reread = live.events.some((event) => event.event === "reload");
    take(live);
    if (site === null || reread) {
      site = await get("api/v1/site");
      showSteering();
    }
    if (live.status !== null && live.time_ms - live.status_ms < PATIENCE_MS) lastNews = Date.now();
    if (live.status !== null && live.samples.length + live.events.length > 0) {
      showHead(live.status);
      drawPath(id("path"), site, live);
      showProblems(live.status);
      showLines(live.status, live.time_ms);
    }
  } catch (error) {
    console.warn(error.message);
  }
  showSilence();
  setTimeout(turn, EVERY_MS);
}

turn();
