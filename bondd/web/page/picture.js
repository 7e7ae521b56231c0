// The way of a packet as a picture: from the PC by the office and each line to the server and the Internet.
// What is cut is red, with a word beside the colour; what lies behind a cut is not known.
export const STAGES = ["interface", "gateway", "provider", "server"];

const HEARD = ["up", "lossy", "slow", "drained"];
export const isHeard = (wan) => HEARD.includes(wan.state);

// For each stage of a WAN "good", "bad" or "unknown". `broken`: the stage at which it is cut, "" when that is
// not known, undefined when it is not cut.
export function stagesOf(broken) {
  if (broken === undefined) return STAGES.map(() => "good");
  const cut = STAGES.indexOf(broken === "session" ? "server" : broken);
  if (cut < 0) return STAGES.map(() => (broken === "program" ? "unknown" : "bad"));
  return STAGES.map((_, i) => (i < cut ? "good" : i === cut ? "bad" : "unknown"));
}

const WORDS = { good: "works", bad: "cut here", unknown: "not known" };

function part(kind, state, title, detail) {
  const out = document.createElement(kind);
  out.className = `part ${state}`;
  const name = document.createElement("b");
  name.textContent = title;
  const more = document.createElement("span");
  more.textContent = detail;
  const word = document.createElement("span");
  word.className = "word";
  word.textContent = WORDS[state];
  out.append(name, more, word);
  return out;
}

// Of a server's lines only the far end is known to be heard or not.
function lineOf(wan, broken, client, port) {
  const states = client ? stagesOf(broken) : [broken === undefined ? "good" : "bad"];
  const line = document.createElement("li");
  line.className = `way ${broken === undefined ? "good" : "bad"}`;
  line.dataset.wan = wan.name;
  const strip = document.createElement("ul");
  strip.append(part("li", states[0], wan.name, `${wan.state}${wan.device ? `, ${wan.device}` : ""}`));
  if (client) {
    strip.append(part("li", states[1], "gateway", wan.gateway ?? ""), part("li", states[2], "provider", ""),
      part("li", states[3], "tunnel", port ? `UDP port ${port}` : ""));
  }
  line.append(strip);
  return line;
}

// `site` as /api/v1/site has it, `live` as /api/v1/live.
export function drawPath(list, site, live) {
  const { status, broken } = live;
  const programs = Object.values(broken).includes("program");
  const all = status.wans.map((wan) => broken[wan.name]);
  const serverBad = all.length > 0 && all.every((cut) => cut === "server");
  const carries = status.state !== "down";
  const client = status.role === "client";
  const lines = document.createElement("li");
  lines.className = "ways";
  const inner = document.createElement("ul");
  const portOf = (name) => site.wans.find((wan) => wan.name === name)?.port;
  inner.append(...status.wans.map((wan) => lineOf(wan, broken[wan.name], client, portOf(wan.name))));
  lines.append(inner);
  const own = programs ? "bad" : "good";
  const far = carries ? "good" : "unknown";
  list.replaceChildren(
    part("li", client ? own === "bad" ? "unknown" : "good" : far, "LAN", "PCs of the office"),
    part("li", client ? own : far, "Office", client ? "this machine" : status.bond.peer ?? ""),
    lines,
    part("li", client ? (serverBad ? "bad" : far) : own, "VPS", client ? status.server : "this machine"),
    part("li", client ? far : own, "Internet", ""));
  list.setAttribute("aria-label", carries ? "The bond carries traffic" : "The bond carries no traffic");
}
