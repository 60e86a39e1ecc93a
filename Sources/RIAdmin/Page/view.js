// What a status is as a page.

import {
  bits, bytes, count, perSecond, quantile, rate, Rates, span, sum, time, whole,
} from "./figures.js";
import { $, badge, el, meter, setClass, setText, table } from "./parts.js";
import { Plot } from "./plot.js";
import { reasons } from "./reasons.js";

/// The line under the title; `style`: "good", "warn", "bad".
export function setState(style, text) {
  setClass($("state"), `state ${style}`);
  setText($("state").querySelector("span"), text);
}

export class View {
  #rates = new Rates();
  /// A first look has no rate yet.
  #isFirst = true;
  #plot = new Plot($("throughput"));
  #tunnels = table($("tunnels"), [
    { title: "edge", kind: "name", value: (t) => name(t) },
    { title: "address", kind: "text", value: (t) => t.address },
    { title: "carried by", value: (t) => (t.transport === "quic" ? "QUIC" : "TLS") },
    { title: "up", value: (t) => span(Date.now() / 1000 - t.connectedAt) },
    { title: "RTT", value: (t) => time(t.rtt ?? t.baseRtt) },
    { title: "streams", value: (t) => whole.format(t.activeStreams) },
    { title: "UDP", value: (t) => whole.format(t.udpSessions) },
    { title: "queued", value: (t) => bytes(t.queuedBytes) },
    { title: "in", kind: "flow", value: (t) => traffic(t.inRate, t.bytesIn) },
    { title: "out", kind: "flow", value: (t) => traffic(t.outRate, t.bytesOut) },
  ], (t) => `${t.edgeId} ${t.address} ${t.connectedAt}`, { stacks: true });
  #tiers = table($("tiers"), [
    { title: "tier", kind: "name", value: (t) => t.name },
    { title: "in", value: (t) => rate(t.in) },
    { title: "out", value: (t) => rate(t.out) },
    { title: "frames", value: (t) => perSecond(t.frames) },
    { title: "queued", value: (t) => bytes(t.queued) },
  ], (t) => t.name);
  #latency = table($("latency"), [
    { title: "", kind: "name", value: (t) => t.name },
    ...[0.5, 0.9, 0.99].map((q) => ({
      title: `p${q * 100}`, value: (t) => time(quantile(t.histogram, q)),
    })),
  ], (t) => t.name);
  #drops = table($("drops"), [
    { title: "", kind: "text", value: (d) => d.name },
    { title: "number", value: (d) => whole.format(d.count) },
    { title: "now", value: (d) => (d.rate > 0 ? perSecond(d.rate) : "–") },
  ], (d) => d.name);
  #listeners = table($("listeners"), [
    { title: "port", kind: "name", value: (l) => l.port },
    { title: "protocol", kind: "text", value: (l) => l.protocol.toUpperCase() },
    { title: "addresses", kind: "text", value: (l) => l.addresses.join(", ") },
    { title: "state", value: (l) => listenerState(l) },
  ], (l) => `${l.protocol} ${l.port} ${l.error}`);
  #entries = table($("firewall-entries"), [
    { title: "entry", kind: "text", value: (c) => c.id ?? "blocked addresses" },
    { title: "packets", value: (c) => whole.format(c.packets) },
    { title: "bytes", value: (c) => bytes(c.bytes) },
  ], (c) => `${c.kind} ${c.id}`);

  /// `now` in seconds, on any clock that does not jump.
  show(status, now) {
    const isHub = Array.isArray(status.connectedEdges);
    const tunnels = isHub ? status.connectedEdges : status.tunnels ?? [];
    const all = sum(status);
    const metrics = all.metrics ?? {};
    const flow = {
      in: this.#rates.of("in", metrics.bytesIn ?? 0, now),
      out: this.#rates.of("out", metrics.bytesOut ?? 0, now),
    };
    this.#showHead(status, isHub, tunnels);
    this.#showTiles(status, isHub, tunnels, all, flow);
    if (this.#isFirst) this.#isFirst = false;
    else this.#plot.push({ now, date: new Date(), ...flow });
    setText($("now-in"), rate(flow.in));
    setText($("now-out"), rate(flow.out));
    this.#showTunnels(tunnels, isHub, now);
    this.#showTiers(metrics.traffic ?? {}, all.queues ?? {}, now);
    this.#showLatency(metrics, isHub);
    this.#showWindows(all.windows ?? {});
    this.#showMemory(all);
    this.#showDrops(reasons(all.counters, metrics), now);
    if (!isHub) this.#showEdge(status);
  }

  #showHead(status, isHub, tunnels) {
    setText($("role"), isHub ? "hub" : "edge");
    const title = isHub ? "hub · remoteingress" : `${status.edgeId ?? "edge"} · remoteingress`;
    if (document.title !== title) document.title = title;
    const state = status.process?.state;
    if (state === "draining") setState("warn", "draining");
    else if (state === "recovering") setState("bad", "the engine is being replaced");
    else if (state !== "running") setState("bad", `the engine is ${state ?? "not there"}`);
    else if (isHub) setState("good", `accepts edges on port ${status.tunnelPort ?? "?"}`);
    else if (tunnels.length === 0) setState("bad", "no tunnel to the hub");
    else setState("good", "the tunnel is up");
    const facts = [`version ${status.version}`];
    if (!isHub && status.publicIp) facts.unshift(`public address ${status.publicIp}`);
    if (isHub && status.pin) facts.push(`pin ${status.pin}`);
    setText($("identity"), facts.join(" · "));
  }

  #showTiles(status, isHub, tunnels, all, flow) {
    const metrics = all.metrics ?? {};
    const soFar = (count) => `${whole.format(count ?? 0)} so far`;
    const sustained = tunnels.reduce((n, t) => n + t.sustainedStreams, 0);
    const trips = tunnels.map((t) => t.rtt ?? t.baseRtt).filter((rtt) => rtt != null);
    const { startedAt, crashesRecovered = 0 } = status.process ?? {};
    tile("in", bits(flow.in), `${bytes(metrics.bytesIn ?? 0)} so far`);
    tile("out", bits(flow.out), `${bytes(metrics.bytesOut ?? 0)} so far`);
    tile("streams", [whole.format(status.activeStreams)],
      sustained ? `${whole.format(sustained)} sustained` : soFar(metrics.traffic?.streamsOpened));
    tile("UDP sessions", [whole.format(status.udpSessions)], soFar(all.counters?.sessionsOpened));
    if (isHub) {
      const edges = new Set(tunnels.map((t) => t.edgeId)).size;
      const opened = count(metrics.tunnelsOpened ?? 0, "tunnel");
      tile("edges", [whole.format(edges)], `${opened} so far`);
    }
    tile("round trip", time(trips.length ? Math.max(...trips) : null).split(" "),
      trips.length > 1 ? "the longest" : "to the other end");
    tile("engine up", [span(startedAt ? Date.now() / 1000 - startedAt : null)],
      crashesRecovered ? `${count(crashesRecovered, "time")} after a crash` : "no crash");
  }

  #showTunnels(tunnels, isHub, now) {
    this.#tunnels(tunnels.map((tunnel) => {
      const key = `${tunnel.edgeId} ${tunnel.address}`;
      return {
        ...tunnel,
        inRate: this.#rates.of(`${key} in`, tunnel.bytesIn, now),
        outRate: this.#rates.of(`${key} out`, tunnel.bytesOut, now),
      };
    }));
    $("tunnels-none").hidden = tunnels.length > 0;
    setText($("tunnels-none"), isHub ? "No edge is connected." : "There is none.");
  }

  #showTiers(t, queues, now) {
    // DATA of sustained streams counts among the data, too.
    const plain = (all, sustained) => (all ?? 0) - (sustained ?? 0);
    const rows = [
      ["control", t.controlBytesReceived, t.controlBytesSent,
        t.controlFramesReceived + t.controlFramesSent, queues.controlBytes],
      ["data", plain(t.dataBytesReceived, t.sustainedBytesReceived),
        plain(t.dataBytesSent, t.sustainedBytesSent),
        plain(t.dataFramesReceived, t.sustainedFramesReceived)
          + plain(t.dataFramesSent, t.sustainedFramesSent), queues.dataBytes],
      ["sustained", t.sustainedBytesReceived, t.sustainedBytesSent,
        t.sustainedFramesReceived + t.sustainedFramesSent, queues.sustainedBytes],
      ["datagrams", t.datagramBytesReceived, t.datagramBytesSent,
        t.datagramsReceived + t.datagramsSent, queues.datagramBytes],
    ];
    this.#tiers(rows.map(([name, received, sent, frames, queued]) => ({
      name,
      in: this.#rates.of(`${name} in`, received ?? 0, now),
      out: this.#rates.of(`${name} out`, sent ?? 0, now),
      frames: this.#rates.of(`${name} frames`, frames || 0, now),
      queued: queued ?? 0,
    })));
  }

  #showLatency(metrics, isHub) {
    this.#latency([
      { name: "engine loop", histogram: metrics.loop },
      { name: "tunnel handshake", histogram: metrics.handshake },
      ...(isHub ? [
        { name: "round trip", histogram: metrics.roundTrip },
        { name: "connect to target", histogram: metrics.targetConnect },
      ] : []),
    ]);
  }

  #showWindows(w) {
    const show = (label, used = 0, size = 0, style) =>
      meter($("windows"), label, `${bytes(used)} of ${bytes(size)}`, size && used / size, style);
    show("in: waits for local sockets", w.bufferedBytes, w.receiveBytes, "in");
    show("out: not credited yet", w.inFlightBytes, w.sendBytes, "out");
    const stalled = w.stalled ? whole.format(w.stalled) : "none";
    setText($("windows-note"), `${count(w.streams ?? 0, "stream")}, ${stalled} without credit`);
  }

  #showMemory(all) {
    const { budgetBytes = 0, heldBytes = 0, grownBytes = 0 } = all.memory ?? {};
    const [style, text] = {
      none: ["", "no pressure"], high: ["warn", "windows at their floor"],
      critical: ["bad", "windows below their floor"],
    }[all.pressure];
    badge($("pressure"), text, style || "good");
    const show = (label, part) =>
      meter($("memory"), label, `${bytes(part)} of ${bytes(budgetBytes)}`,
        budgetBytes && part / budgetBytes, style);
    show("held for stalled streams", heldBytes);
    show("granted to large windows", grownBytes);
    for (const [id, pool] of all.pools) {
      const label = id.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`);
      const share = pool.used / pool.total;
      meter($("pools"), label, `${whole.format(pool.used)} / ${whole.format(pool.total)}`, share,
        share > 0.9 ? "warn" : "");
    }
  }

  #showDrops(rows, now) {
    for (const row of rows) row.rate = this.#rates.of(row.name, row.count, now);
    const shown = rows.filter((row) => row.count > 0);
    this.#drops(shown);
    $("drops-none").hidden = shown.length > 0;
  }

  #showEdge(status) {
    $("listeners-card").hidden = false;
    $("firewall-card").hidden = false;
    // A port has a listener for each family of addresses: one row unless they differ.
    const ports = new Map();
    for (const listener of status.listeners ?? []) {
      const key = `${listener.protocol} ${listener.port} ${listener.error ?? ""}`;
      if (!ports.has(key)) ports.set(key, { ...listener, addresses: [] });
      ports.get(key).addresses.push(listener.address);
    }
    this.#listeners([...ports.values()]);
    $("listeners-none").hidden = ports.size > 0;
    const firewall = status.firewall ?? { state: "off" };
    const style = { applied: "good", off: "", unavailable: "warn" }[firewall.state] ?? "bad";
    badge($("firewall-state"), firewall.state, style);
    setText($("firewall-reason"), firewall.reason ?? "");
    const { rules = 0, blockedIps = 0, rateLimits = 0, applies = 0, failures = 0 } = firewall;
    const facts = [
      count(rules, "rule"), `${whole.format(blockedIps)} blocked`, count(rateLimits, "rate limit"),
      `applied ${count(applies, "time")}`, `failed ${count(failures, "time")}`,
    ];
    const isUnused = firewall.state === "off" && applies + failures === 0;
    setText($("firewall-facts"), isUnused ? "The hub asks for none." : facts.join(" · "));
    this.#entries(firewall.counters ?? []);
  }
}

function name(tunnel) {
  const marks = tunnel.draining ? [el("span", { class: "badge warn" }, "draining")] : [];
  return el("span", {}, tunnel.edgeId, ...marks);
}

const traffic = (perSecond, total) =>
  el("span", {}, rate(perSecond), " ", el("small", {}, bytes(total)));

const listenerState = (listener) =>
  el("span", { class: `badge ${listener.error ? "bad" : "good"}` }, listener.error ?? "listening");

function tile(label, [value, unit], more) {
  let node = $("tiles").querySelector(`[data-key="${label}"]`);
  if (!node) {
    node = el("div", { class: "tile", "data-key": label },
      el("span", {}, label), el("b"), el("em"));
    $("tiles").append(node);
  }
  const text = `${value} ${unit ?? ""}`;
  if (node.dataset.value !== text) {
    node.dataset.value = text;
    node.children[1].replaceChildren(value, ...(unit ? [el("small", {}, unit)] : []));
  }
  setText(node.children[2], more);
}
