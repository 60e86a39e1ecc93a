// The page of the admin HTTP: it asks for /status once a second, listens to /events, and shows both.
"use strict";

const POLL_MS = 1000;
const HISTORY_SECONDS = 180;
const EVENTS_SHOWN = 200;
const TOKEN_KEY = "remoteingress.token";

const $ = (id) => document.getElementById(id);

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

// --- Numbers as people read them

const whole = new Intl.NumberFormat("en");

function scaled(value, base, units) {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return [value.toFixed(digits), units[unit]];
}

const bits = (bytesPerSecond) =>
  scaled(bytesPerSecond * 8, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
const rate = (bytesPerSecond) => bits(bytesPerSecond).join(" ");
const bytes = (count) => scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]).join(" ");
const perSecond = (value) => `${scaled(value, 1000, ["", "k", "M"]).join("")}/s`;

function time(seconds) {
  if (seconds == null) return "–";
  if (seconds < 1e-3) return `${trim(seconds * 1e6)} µs`;
  if (seconds < 1) return `${trim(seconds * 1e3)} ms`;
  return `${trim(seconds)} s`;
}

const trim = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function span(seconds) {
  if (seconds == null || seconds < 0) return "–";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

// --- What the status says in all

const add = (into, from) => {
  for (const [key, value] of Object.entries(from ?? {})) {
    if (typeof value === "number") into[key] = (into[key] ?? 0) + value;
    else if (value && typeof value === "object") into[key] = merge(into[key], value);
  }
  return into;
};

function merge(into, from) {
  if (Array.isArray(from.buckets)) return mergeHistogram(into, from);
  if (Array.isArray(from)) return into ?? from;
  return add(into ?? {}, from);
}

/// `[bucket, count, …]` as a sparse object.
function mergeHistogram(into = { ns: 0, counts: {} }, from) {
  into.ns += from.ns;
  for (let i = 0; i + 1 < from.buckets.length; i += 2) {
    into.counts[from.buckets[i]] = (into.counts[from.buckets[i]] ?? 0) + from.buckets[i + 1];
  }
  return into;
}

/// The upper bound of a bucket in seconds: 1, 2, 3, 4, 6, 8, 12, 16 … µs.
function bound(bucket) {
  if (bucket < 2) return (bucket + 1) / 1e6;
  const octave = 2 ** Math.floor(bucket / 2);
  return (octave + (octave / 2) * (1 + (bucket % 2))) / 1e6;
}

function quantile(histogram, q) {
  const buckets = Object.entries(histogram?.counts ?? {}).map(([k, n]) => [Number(k), n]);
  buckets.sort((a, b) => a[0] - b[0]);
  const count = buckets.reduce((sum, [, n]) => sum + n, 0);
  if (count === 0) return null;
  let left = q * count;
  for (const [bucket, n] of buckets) {
    left -= n;
    if (left <= 0) return bound(bucket);
  }
  return bound(buckets.at(-1)[0]);
}

function sum(status) {
  const total = {};
  for (const shard of status.shards ?? []) add(total, shard);
  const pools = new Map();
  for (const pool of (status.shards ?? []).flatMap((shard) => shard.pools ?? [])) {
    const known = pools.get(pool.name) ?? { used: 0, total: 0, bufferBytes: pool.bufferBytes };
    known.used += pool.used;
    known.total += pool.total;
    pools.set(pool.name, known);
  }
  const pressures = (status.shards ?? []).map((shard) => shard.memory.pressure);
  const pressure = ["critical", "high"].find((level) => pressures.includes(level)) ?? "none";
  return { ...total, pools, pressure };
}

// --- Tables whose rows stay where they are

/// `columns`: `{ title, value(item), text, name, small }`. Rows are kept by `key`.
function table(node, columns, key, { stacks = true } = {}) {
  if (stacks) node.classList.add("stack");
  const head = el("tr", {}, ...columns.map((c) => el("th", { scope: "col", class: c.text || c.name ? "text" : null }, c.title)));
  const body = el("tbody");
  node.append(el("thead", {}, head), body);
  const rows = new Map();
  return (items) => {
    const seen = new Set();
    items.forEach((item, index) => {
      const id = key(item);
      seen.add(id);
      let row = rows.get(id);
      if (!row) {
        row = el("tr", {}, ...columns.map((c) => el("td", {
          "data-label": c.title, class: c.name ? "name" : c.text ? "text" : null,
        })));
        rows.set(id, row);
      }
      columns.forEach((column, i) => {
        const value = column.value(item);
        const cell = row.children[i];
        if (value instanceof Node) cell.replaceChildren(value);
        else setText(cell, String(value));
      });
      if (body.children[index] !== row) body.insertBefore(row, body.children[index] ?? null);
    });
    for (const [id, row] of rows) {
      if (seen.has(id)) continue;
      row.remove();
      rows.delete(id);
    }
    node.hidden = items.length === 0;
  };
}

function meter(parent, key, label, value, share, style = "") {
  let node = parent.querySelector(`[data-key="${key}"]`);
  if (!node) {
    node = el("div", { "data-key": key }, el("span"), el("b"), el("div", { class: "bar" }, el("i")));
    parent.append(node);
  }
  setClass(node, `meter ${style}`.trim());
  setText(node.children[0], label);
  setText(node.children[1], value);
  const width = share > 0 ? Math.max(0.5, Math.min(100, share * 100)) : 0;
  node.querySelector("i").style.width = `${width}%`;
}

function badge(node, text, style) {
  setText(node, text);
  setClass(node, `badge ${style}`.trim());
}

// --- Throughput over time

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

class Plot {
  constructor(node) {
    this.node = node;
    this.tip = node.querySelector(".tip");
    this.points = [];
    this.root = svg("svg", { "aria-hidden": "true" });
    node.prepend(this.root);
    new ResizeObserver(() => this.draw()).observe(node);
    node.addEventListener("pointermove", (event) => {
      this.at = event.clientX - node.getBoundingClientRect().left;
      this.draw();
    });
    node.addEventListener("pointerleave", () => {
      this.at = null;
      this.draw();
    });
  }

  /// `now` in seconds, rates in bytes a second.
  push(point) {
    this.points.push(point);
    while (this.points[0].now < point.now - HISTORY_SECONDS - 5) this.points.shift();
    this.draw();
  }

  /// A round bound, in bits a second, that four lines can share.
  static top(value) {
    const least = Math.max(value, 1000);
    const power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 4, 8, 10].map((step) => step * power).find((bound) => bound >= least);
  }

  draw() {
    const width = this.node.clientWidth;
    const height = this.node.clientHeight;
    if (width === 0) return;
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const [left, right, top, bottom] = [64, 4, 6, 20];
    const newest = this.points.at(-1)?.now ?? 0;
    const x = (now) => left + (1 - (newest - now) / HISTORY_SECONDS) * (width - left - right);
    const peak = Math.max(0, ...this.points.flatMap((p) => [p.in, p.out])) * 8;
    const most = Plot.top(peak);
    const y = (rate) => height - bottom - (rate * 8 / most) * (height - top - bottom);
    const parts = [];
    for (let i = 0; i <= 4; i += 1) {
      const level = y(most / 8 * (i / 4));
      parts.push(svg("line", { x1: left, x2: width - right, y1: level, y2: level, class: i ? "grid" : "base" }));
      if (i % 2) continue;
      const label = svg("text", { x: left - 8, y: level + 4, "text-anchor": "end" });
      label.textContent = i ? bits(most / 8 * (i / 4)).map((part) => part.replace(/\.0+$/, "")).join(" ") : "0";
      parts.push(label);
    }
    for (const minutes of [3, 2, 1, 0]) {
      const label = svg("text", {
        x: x(newest - minutes * 60), y: height - 4,
        "text-anchor": minutes === 3 ? "start" : minutes === 0 ? "end" : "middle",
      });
      label.textContent = minutes === 0 ? "now" : `−${minutes} min`;
      parts.push(label);
    }
    const shown = this.points.filter((p) => p.now >= newest - HISTORY_SECONDS);
    for (const side of ["out", "in"]) {
      if (shown.length < 2) continue;
      const line = shown.map((p) => `${x(p.now).toFixed(1)},${y(p[side]).toFixed(1)}`).join("L");
      const base = y(0);
      parts.push(svg("path", { class: `fill ${side}`, d: `M${x(shown[0].now)},${base}L${line}L${x(newest)},${base}Z` }));
      parts.push(svg("path", { class: `line ${side}`, d: `M${line}` }));
    }
    this.showTip(shown, x, y, parts, width, height - bottom);
    this.root.replaceChildren(...parts);
  }

  showTip(shown, x, y, parts, width, base) {
    this.tip.hidden = this.at == null || shown.length === 0;
    if (this.tip.hidden) return;
    const point = shown.reduce((best, p) =>
      Math.abs(x(p.now) - this.at) < Math.abs(x(best.now) - this.at) ? p : best);
    const px = x(point.now);
    parts.push(svg("line", { class: "cross", x1: px, x2: px, y1: 6, y2: base }));
    for (const side of ["out", "in"]) {
      parts.push(svg("circle", { class: side, cx: px, cy: y(point[side]), r: 4 }));
    }
    this.tip.replaceChildren(
      el("time", {}, clock(point.date)),
      el("div", {}, el("span", {}, el("i", { class: "key in" }), "in"), el("b", {}, rate(point.in))),
      el("div", {}, el("span", {}, el("i", { class: "key out" }), "out"), el("b", {}, rate(point.out))),
    );
    const tipWidth = this.tip.offsetWidth;
    this.tip.style.left = `${px + 12 + tipWidth > width ? px - 12 - tipWidth : px + 12}px`;
  }
}

const clock = (date) => date.toLocaleTimeString("en-GB");

// --- Rates

/// Differences of counters between two looks; none across a restart of the engine.
class Rates {
  constructor() { this.last = new Map(); }

  /// The growth of `value` a second since the last look.
  of(key, value, now) {
    const before = this.last.get(key);
    this.last.set(key, { value, now });
    if (!before || value < before.value || now <= before.now) return 0;
    return (value - before.value) / (now - before.now);
  }
}

// --- Showing

const REASONS = {
  clientsRefused: "clients refused, no tunnel or no room",
  streamsRefused: "streams refused, not allowed",
  tableFull: "streams refused, table full",
  budgetResets: "streams reset, memory budget",
  dataAfterClose: "streams reset, data after close",
  creditOverdrawn: "streams reset, credit overdrawn",
  targetsRefused: "targets that refused",
  targetsTimedOut: "targets that did not answer",
  targetsFailed: "targets not reached otherwise",
  sessionsRefused: "UDP sessions refused",
  sessionsEvicted: "UDP sessions that made room",
  framesDropped: "frames of streams that are gone",
  framesSkipped: "frames of unknown type",
  noTunnel: "datagrams, no tunnel",
  noSession: "datagrams, no session",
  noTarget: "datagrams, target not known yet",
  queueFull: "datagrams, queue full",
  stuck: "datagrams, tunnel stuck",
  noBuffer: "datagrams, no buffer",
  socketFull: "datagrams, socket full",
  tooLong: "datagrams, too long",
  refused: "datagrams, nobody listens",
  failed: "datagrams, socket failed",
};

const CAUSES = {
  peerClosed: "closed by the other side", silent: "silent", timedOut: "timed out",
  malformed: "malformed", tooMany: "too many at once", unauthorized: "unauthorized",
  refused: "refused by the hub", noAddress: "no address", replaced: "replaced by a newer one",
  revoked: "no longer allowed", outOfBuffers: "out of buffers", stopping: "stopping",
  drained: "drained", network: "network", tls: "TLS", protocolViolation: "protocol violation",
};

class View {
  constructor() {
    this.rates = new Rates();
    this.plot = new Plot($("throughput"));
    this.tunnels = table($("tunnels"), [
      { title: "edge", name: true, value: (t) => this.tunnelName(t) },
      { title: "address", text: true, value: (t) => t.address },
      { title: "carried by", value: (t) => (t.transport === "quic" ? "QUIC" : "TLS") },
      { title: "up", value: (t) => span(Date.now() / 1000 - t.connectedAt) },
      { title: "RTT", value: (t) => time(t.rtt ?? t.baseRtt) },
      { title: "streams", value: (t) => whole.format(t.activeStreams) },
      { title: "UDP", value: (t) => whole.format(t.udpSessions) },
      { title: "queued", value: (t) => bytes(t.queuedBytes) },
      { title: "in", value: (t) => this.traffic(t.inRate, t.bytesIn) },
      { title: "out", value: (t) => this.traffic(t.outRate, t.bytesOut) },
    ], (t) => `${t.edgeId} ${t.address} ${t.connectedAt}`);
    this.tiers = table($("tiers"), [
      { title: "tier", name: true, value: (t) => t.name },
      { title: "in", value: (t) => rate(t.in) },
      { title: "out", value: (t) => rate(t.out) },
      { title: "frames", value: (t) => perSecond(t.frames) },
      { title: "queued", value: (t) => bytes(t.queued) },
    ], (t) => t.name, { stacks: false });
    this.latency = table($("latency"), [
      { title: "", name: true, value: (t) => t.name },
      { title: "p50", value: (t) => time(quantile(t.histogram, 0.5)) },
      { title: "p90", value: (t) => time(quantile(t.histogram, 0.9)) },
      { title: "p99", value: (t) => time(quantile(t.histogram, 0.99)) },
    ], (t) => t.name, { stacks: false });
    this.drops = table($("drops"), [
      { title: "", name: true, value: (d) => d.name },
      { title: "number", value: (d) => whole.format(d.count) },
      { title: "now", value: (d) => (d.rate > 0 ? perSecond(d.rate) : "–") },
    ], (d) => d.name, { stacks: false });
    this.listeners = table($("listeners"), [
      { title: "port", name: true, value: (l) => `${l.port}` },
      { title: "protocol", text: true, value: (l) => l.protocol.toUpperCase() },
      { title: "addresses", text: true, value: (l) => l.addresses.join(", ") },
      { title: "state", value: (l) => el("span", { class: `badge ${l.error ? "bad" : "good"}` }, l.error ?? "listening") },
    ], (l) => `${l.protocol} ${l.port} ${l.error}`, { stacks: false });
    this.firewallCounters = table($("firewall-counters"), [
      { title: "entry", name: true, value: (c) => c.id ?? (c.kind === "blockedIps" ? "blocked addresses" : c.kind) },
      { title: "packets", value: (c) => whole.format(c.packets) },
      { title: "bytes", value: (c) => bytes(c.bytes) },
    ], (c) => `${c.kind} ${c.id}`, { stacks: false });
  }

  tunnelName(tunnel) {
    const marks = tunnel.draining ? [el("span", { class: "badge warn" }, "draining")] : [];
    return el("span", {}, tunnel.edgeId, ...marks);
  }

  traffic(perSecond, total) {
    return el("span", {}, rate(perSecond), " ", el("small", {}, bytes(total)));
  }

  show(status, now) {
    const isHub = Array.isArray(status.connectedEdges);
    const tunnels = isHub ? status.connectedEdges : status.tunnels ?? [];
    const all = sum(status);
    const metrics = all.metrics ?? { traffic: {} };
    this.showHead(status, isHub, tunnels);
    // Whole connections come and go with their tunnels; the shards' totals stay.
    const flow = {
      in: this.rates.of("in", metrics.bytesIn ?? 0, now),
      out: this.rates.of("out", metrics.bytesOut ?? 0, now),
    };
    this.plot.push({ now, date: new Date(), ...flow });
    setText($("now-in"), rate(flow.in));
    setText($("now-out"), rate(flow.out));
    this.showTiles(status, isHub, tunnels, all, flow);
    this.tunnels(tunnels.map((tunnel) => {
      const key = `${tunnel.edgeId} ${tunnel.address}`;
      return {
        ...tunnel,
        inRate: this.rates.of(`${key} in`, tunnel.bytesIn, now),
        outRate: this.rates.of(`${key} out`, tunnel.bytesOut, now),
      };
    }));
    $("tunnels-none").hidden = tunnels.length > 0;
    setText($("tunnels-none"), isHub ? "No edge is connected." : "There is no tunnel to the hub.");
    this.showTiers(metrics.traffic ?? {}, all.queues ?? {}, now);
    this.showLatency(metrics, isHub);
    this.showWindows(all.windows ?? {});
    this.showMemory(all);
    this.showDrops(all, metrics, now);
    if (!isHub) this.showEdge(status);
  }

  showHead(status, isHub, tunnels) {
    setText($("role"), isHub ? "hub" : "edge");
    document.title = `${isHub ? "hub" : status.edgeId ?? "edge"} · remoteingress`;
    const state = status.process?.state;
    let verdict = ["good", isHub ? `accepts edges on port ${status.tunnelPort ?? "?"}` : "tunnel is up"];
    if (state === "draining") verdict = ["warn", "draining"];
    else if (state === "recovering") verdict = ["bad", "the engine is being replaced"];
    else if (state !== "running") verdict = ["bad", `the engine is ${state ?? "not there"}`];
    else if (!isHub && tunnels.length === 0) verdict = ["bad", "no tunnel"];
    setState(...verdict);
    const parts = [`version ${status.version}`];
    if (!isHub && status.publicIp) parts.unshift(`public address ${status.publicIp}`);
    if (isHub && status.pin) parts.push(status.pin);
    setText($("identity"), parts.join(" · "));
  }

  showTiles(status, isHub, tunnels, all, flow) {
    const rtts = tunnels.map((t) => t.rtt ?? t.baseRtt).filter((rtt) => rtt != null);
    const rtt = rtts.length ? Math.max(...rtts) : null;
    const started = status.process?.startedAt;
    const crashes = status.process?.crashesRecovered ?? 0;
    const edges = new Set(tunnels.map((t) => t.edgeId)).size;
    const sustained = tunnels.reduce((n, t) => n + t.sustainedStreams, 0);
    this.tile("in", "in", bits(flow.in), `${bytes(all.metrics?.bytesIn ?? 0)} so far`);
    this.tile("out", "out", bits(flow.out), `${bytes(all.metrics?.bytesOut ?? 0)} so far`);
    this.tile("streams", "streams", [whole.format(status.activeStreams)], `${whole.format(sustained)} sustained`);
    this.tile("sessions", "UDP sessions", [whole.format(status.udpSessions)], `${whole.format(all.counters?.sessionsOpened ?? 0)} so far`);
    if (isHub) this.tile("edges", "edges", [whole.format(edges)], `${whole.format(all.metrics?.tunnelsOpened ?? 0)} tunnels so far`);
    this.tile("rtt", isHub && rtts.length > 1 ? "largest RTT" : "RTT", time(rtt).split(" "), "to the other end");
    this.tile("up", "engine up", [started ? span(Date.now() / 1000 - started) : "–"],
      crashes ? `${crashes} crashes recovered` : "no crash");
  }

  tile(key, label, [value, unit], more) {
    let node = document.querySelector(`.tile[data-key="${key}"]`);
    if (!node) {
      node = el("div", { class: "tile", "data-key": key }, el("span"), el("b"), el("em"));
      $("tiles").append(node);
    }
    setText(node.children[0], label);
    const text = `${value}|${unit ?? ""}`;
    if (node.dataset.value !== text) {
      node.dataset.value = text;
      node.children[1].replaceChildren(value, ...(unit ? [el("small", {}, unit)] : []));
    }
    setText(node.children[2], more);
  }

  showTiers(traffic, queues, now) {
    const row = (name, received, sent, framesIn, framesOut, queued) => ({
      name, queued: queued ?? 0,
      in: this.rates.of(`${name} in`, received ?? 0, now),
      out: this.rates.of(`${name} out`, sent ?? 0, now),
      frames: this.rates.of(`${name} frames`, (framesIn ?? 0) + (framesOut ?? 0), now),
    });
    const t = traffic;
    this.tiers([
      row("control", t.controlBytesReceived, t.controlBytesSent,
        t.controlFramesReceived, t.controlFramesSent, queues.controlBytes),
      row("data", t.dataBytesReceived - t.sustainedBytesReceived, t.dataBytesSent - t.sustainedBytesSent,
        t.dataFramesReceived - t.sustainedFramesReceived, t.dataFramesSent - t.sustainedFramesSent,
        queues.dataBytes),
      row("sustained", t.sustainedBytesReceived, t.sustainedBytesSent,
        t.sustainedFramesReceived, t.sustainedFramesSent, queues.sustainedBytes),
      row("datagrams", t.datagramBytesReceived, t.datagramBytesSent,
        t.datagramsReceived, t.datagramsSent, queues.datagramBytes),
    ]);
  }

  showLatency(metrics, isHub) {
    const rows = [
      { name: "engine loop", histogram: metrics.loop },
      { name: "tunnel handshake", histogram: metrics.handshake },
    ];
    if (isHub) {
      rows.push({ name: "round trip", histogram: metrics.roundTrip });
      rows.push({ name: "connect to target", histogram: metrics.targetConnect });
    }
    this.latency(rows);
  }

  showWindows(windows) {
    const share = (used, size) => (size > 0 ? used / size : 0);
    const text = (used, size) => `${bytes(used ?? 0)} of ${bytes(size ?? 0)}`;
    meter($("windows"), "in", "in: waits for local sockets", text(windows.bufferedBytes, windows.receiveBytes),
      share(windows.bufferedBytes, windows.receiveBytes));
    meter($("windows"), "out", "out: not credited yet", text(windows.inFlightBytes, windows.sendBytes),
      share(windows.inFlightBytes, windows.sendBytes), "out");
    const stalled = windows.stalled ?? 0;
    setText($("windows-note"), `${whole.format(windows.streams ?? 0)} streams, ${whole.format(stalled)} of them wait for credit`);
  }

  showMemory(all) {
    const memory = all.memory ?? {};
    const style = { none: "", high: "warn", critical: "bad" }[all.pressure];
    const text = { none: "no pressure", high: "windows at their floor", critical: "windows below their floor" };
    badge($("pressure"), text[all.pressure], all.pressure === "none" ? "good" : style);
    const of = bytes(memory.budgetBytes ?? 0);
    const share = (held) => (memory.budgetBytes > 0 ? held / memory.budgetBytes : 0);
    meter($("memory"), "held", "held for stalled streams", `${bytes(memory.heldBytes ?? 0)} of ${of}`, share(memory.heldBytes), style);
    meter($("memory"), "grown", "granted to large windows", `${bytes(memory.grownBytes ?? 0)} of ${of}`, share(memory.grownBytes), style);
    for (const [name, pool] of all.pools) {
      const used = pool.used / pool.total;
      meter($("pools"), name, name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`),
        `${whole.format(pool.used)} / ${whole.format(pool.total)}`, used, used > 0.9 ? "warn" : "");
    }
  }

  showDrops(all, metrics, now) {
    const counters = all.counters ?? {};
    const traffic = metrics.traffic ?? {};
    const counts = {
      ...counters.drops, tableFull: traffic.streamsRefused, framesDropped: traffic.framesDropped,
      framesSkipped: traffic.framesSkipped, dataAfterClose: traffic.dataAfterClose,
      creditOverdrawn: traffic.creditOverdrawn,
    };
    for (const key of ["clientsRefused", "streamsRefused", "budgetResets", "sessionsRefused", "sessionsEvicted"]) {
      counts[key] = counters[key];
    }
    for (const key of ["targetsRefused", "targetsTimedOut", "targetsFailed"]) counts[key] = metrics[key];
    const rows = Object.entries(REASONS).map(([key, name]) => ({ name, count: counts[key] ?? 0 }));
    for (const [kind, causes] of [["handshakes", metrics.handshakeFailures], ["tunnels", metrics.tunnelEnds]]) {
      for (const [cause, count] of Object.entries(causes ?? {})) {
        rows.push({ name: `${kind}, ${CAUSES[cause] ?? cause}`, count });
      }
    }
    for (const row of rows) row.rate = this.rates.of(`drop ${row.name}`, row.count, now);
    const shown = rows.filter((row) => row.count > 0);
    this.drops(shown);
    $("drops-none").hidden = shown.length > 0;
  }

  showEdge(status) {
    $("listeners-card").hidden = false;
    $("firewall-card").hidden = false;
    const ports = new Map();
    for (const listener of status.listeners ?? []) {
      const key = `${listener.protocol} ${listener.port} ${listener.error ?? ""}`;
      const known = ports.get(key) ?? { ...listener, addresses: [] };
      known.addresses.push(listener.address);
      ports.set(key, known);
    }
    this.listeners([...ports.values()]);
    $("listeners-none").hidden = ports.size > 0;
    const firewall = status.firewall ?? { state: "off", counters: [] };
    const style = { applied: "good", off: "", unavailable: "warn" }[firewall.state] ?? "bad";
    badge($("firewall-state"), firewall.state, style);
    setText($("firewall-reason"), firewall.reason ?? "");
    const facts = [
      ["rules", firewall.rules], ["blocked addresses", firewall.blockedIps],
      ["rate limits", firewall.rateLimits], ["applied", `${firewall.applies ?? 0} times`],
      ["failed", `${firewall.failures ?? 0} times`],
    ];
    const list = $("firewall");
    const text = JSON.stringify(facts);
    if (list.dataset.value !== text) {
      list.dataset.value = text;
      list.replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, `${value ?? 0}`)]));
    }
    this.firewallCounters(firewall.counters ?? []);
  }
}

function setState(style, text) {
  setClass($("state"), `state ${style}`);
  setText($("state").querySelector("span"), text);
}

// --- Asking

class Unauthorized extends Error {}

function headers() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(path, options = {}) {
  const response = await fetch(path, { headers: headers(), cache: "no-store", ...options });
  if (response.status === 401) throw new Unauthorized();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

/// Asks the user for the token until it is taken.
function askForToken() {
  const dialog = $("ask");
  if (dialog.open) return Promise.resolve();
  const wasWrong = sessionStorage.getItem(TOKEN_KEY) != null;
  sessionStorage.removeItem(TOKEN_KEY);
  setText($("ask-problem"), wasWrong ? "This token is not the right one." : "");
  $("token").value = "";
  setState("warn", "a token is needed");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN_KEY, $("token").value.trim());
      $("token").value = "";
      resolve();
    }, { once: true });
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function poll(view) {
  const main = document.querySelector("main");
  for (;;) {
    const begun = performance.now();
    try {
      const response = await ask("/status", { signal: AbortSignal.timeout(8000) });
      const status = await response.json();
      main.hidden = false;
      view.show(status, performance.now() / 1000);
    } catch (error) {
      if (error instanceof Unauthorized) {
        await askForToken();
        continue;
      }
      setState("bad", "no answer");
    }
    await pause(Math.max(100, POLL_MS - (performance.now() - begun)));
    if (document.hidden) await shown();
  }
}

/// Resolves when somebody looks at the page again.
const shown = () => new Promise((resolve) => {
  document.addEventListener("visibilitychange", function look() {
    if (document.hidden) return;
    document.removeEventListener("visibilitychange", look);
    resolve();
  });
});

// --- Events

const STYLES = {
  edgeConnected: "good", tunnelConnected: "good", crashRecovered: "warn", edgeDisconnected: "warn",
  tunnelDisconnected: "warn", crashRecoveryFailed: "bad", listenerFailed: "bad", eventsLost: "warn",
};

/// `{"edgeId": "e1", …}` as "edgeId e1 · …".
function summary(data) {
  return Object.entries(data)
    .filter(([, value]) => value != null && value !== "" && !(Array.isArray(value) && value.length === 0))
    .map(([name, value]) => `${words(name)} ${typeof value === "object" ? flat(value) : value}`)
    .join(" · ");
}

const words = (name) => name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`);
const flat = (value) => (Array.isArray(value) && value.every((v) => typeof v !== "object") ? value.join(", ") : JSON.stringify(value));

function showEvent(name, data) {
  const list = $("events");
  list.prepend(el("li", {},
    el("time", {}, clock(new Date())),
    el("b", { class: STYLES[name] ?? null }, words(name)),
    el("p", {}, summary(data))));
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
  $("events-none").hidden = true;
}

/// Messages of one answer (HTML standard, section 9.2.6), as far as our server writes them.
async function readEvents(response, handle) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      const lines = message.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2));
      const data = field("data").join("\n");
      if (data) handle(field("event")[0] ?? "message", JSON.parse(data));
    }
  }
}

async function listen() {
  for (;;) {
    try {
      const response = await ask("/events?streams=0");
      badge($("events-state"), "live", "good");
      await readEvents(response, showEvent);
    } catch (error) {
      if (error instanceof Unauthorized) {
        // The other loop asks; this one waits for its answer.
        await pause(500);
        continue;
      }
    }
    badge($("events-state"), "not connected", "warn");
    await pause(2000);
  }
}

poll(new View());
listen();
