// Numbers: as people read them, summed over shards, and as rates.

export const whole = new Intl.NumberFormat("en");

/// The value in the largest unit that leaves it above 1: `["1.25", "Mbit/s"]`.
function scaled(value, base, units) {
  let unit = 0;
  while (value >= base && unit < units.length - 1) {
    value /= base;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return [value.toFixed(digits), units[unit]];
}

export const bits = (bytesPerSecond) =>
  scaled(bytesPerSecond * 8, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
export const rate = (bytesPerSecond) => bits(bytesPerSecond).join(" ");
export const bytes = (count) => scaled(count, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]).join(" ");
export const perSecond = (value) => `${scaled(value, 1000, ["", "k", "M"]).join("")}/s`;

/// `1 stream`, `2 streams`.
export const count = (n, what) => `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;

/// A span of time that may be short.
export function time(seconds) {
  const trim = (value) => Number(value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2));
  if (seconds == null) return "–";
  if (seconds < 1e-3) return `${trim(seconds * 1e6)} µs`;
  return seconds < 1 ? `${trim(seconds * 1e3)} ms` : `${trim(seconds)} s`;
}

/// A span of time that may be long.
export function span(seconds) {
  if (seconds == null || seconds < 0) return "–";
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(seconds / unit));
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

// Sums

/// Adds all numbers of one object to those of another, however deep they are.
function add(into, from) {
  for (const [key, value] of Object.entries(from ?? {})) {
    if (typeof value === "number") into[key] = (into[key] ?? 0) + value;
    else if (Array.isArray(value?.buckets)) into[key] = addHistogram(into[key], value);
    else if (Array.isArray(value)) into[key] ??= value;
    else if (value && typeof value === "object") into[key] = add(into[key] ?? {}, value);
  }
  return into;
}

/// `[bucket, count, …]` as an object.
function addHistogram(into = { ns: 0, counts: {} }, from) {
  into.ns += from.ns;
  for (let i = 0; i + 1 < from.buckets.length; i += 2) {
    into.counts[from.buckets[i]] = (into.counts[from.buckets[i]] ?? 0) + from.buckets[i + 1];
  }
  return into;
}

/// What the shards of a status have counted and hold in all.
export function sum(status) {
  const shards = status.shards ?? [];
  const total = shards.reduce(add, {});
  const pools = new Map();
  for (const pool of shards.flatMap((shard) => shard.pools ?? [])) {
    const known = pools.get(pool.name) ?? { used: 0, total: 0 };
    known.used += pool.used;
    known.total += pool.total;
    pools.set(pool.name, known);
  }
  const pressures = shards.map((shard) => shard.memory.pressure);
  const pressure = ["critical", "high"].find((level) => pressures.includes(level)) ?? "none";
  return { ...total, pools, pressure };
}

/// The upper bound of a bucket in seconds: 1, 2, 3, 4, 6, 8, 12, 16 … µs.
function bound(bucket) {
  if (bucket < 2) return (bucket + 1) / 1e6;
  const octave = 2 ** Math.floor(bucket / 2);
  return (octave + (octave / 2) * (1 + (bucket % 2))) / 1e6;
}

/// The span that a share `q` of a histogram's does not exceed; null when it is empty.
export function quantile(histogram, q) {
  const buckets = Object.entries(histogram?.counts ?? {}).map(([k, n]) => [Number(k), n]);
  buckets.sort((a, b) => a[0] - b[0]);
  let left = q * buckets.reduce((count, [, n]) => count + n, 0);
  if (left === 0) return null;
  for (const [bucket, n] of buckets) {
    left -= n;
    if (left <= 0) return bound(bucket);
  }
  return bound(buckets.at(-1)[0]);
}

/// How fast counters grow between two looks; a counter that went back began anew, and has no rate.
export class Rates {
  #last = new Map();

  /// The growth of `value` a second since the last look.
  of(key, value, now) {
    const before = this.#last.get(key);
    this.#last.set(key, { value, now });
    if (!before || value < before.value || now <= before.now) return 0;
    return (value - before.value) / (now - before.now);
  }
}
