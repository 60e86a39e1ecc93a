// The page of the admin HTTP: it asks for /status once a second, listens to /events, shows both.

import { $, badge, clock, el, setText } from "./parts.js";
import { setState, View } from "./view.js";

const POLL_MS = 1000;
const EVENTS_SHOWN = 200;
const TOKEN_KEY = "remoteingress.token";

// Asking

class Unauthorized extends Error {}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, { headers, cache: "no-store", ...options });
  if (response.status === 401) throw new Unauthorized();
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

/// Asks the user for the token.
function askForToken() {
  const [dialog, input] = [$("ask"), $("token")];
  const wasWrong = sessionStorage.getItem(TOKEN_KEY) != null;
  setText($("ask-problem"), wasWrong ? "This token is not the right one." : "");
  setState("warn", "a token is needed");
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN_KEY, input.value.trim());
      input.value = "";
      resolve();
    }, { once: true });
    dialog.showModal();
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/// Resolves when somebody looks at the page.
async function beLookedAt() {
  while (document.hidden) {
    await new Promise((resolve) =>
      document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

async function poll() {
  const view = new View();
  for (;;) {
    const begun = performance.now();
    try {
      const response = await ask("/status", { signal: AbortSignal.timeout(8000) });
      const status = await response.json();
      document.querySelector("main").hidden = false;
      view.show(status, performance.now() / 1000);
    } catch (error) {
      if (error instanceof Unauthorized) {
        await askForToken();
        continue;
      }
      setState("bad", "no answer");
    }
    await pause(Math.max(100, POLL_MS - (performance.now() - begun)));
    await beLookedAt();
  }
}

// Events

const STYLES = {
  edgeConnected: "good", tunnelConnected: "good", crashRecovered: "warn", eventsLost: "warn",
  edgeDisconnected: "warn", tunnelDisconnected: "warn", crashRecoveryFailed: "bad",
  listenerFailed: "bad",
};

/// `edgeConnected` as "edge connected".
const words = (name) => name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`);

/// `{"edgeId": "e1", …}` as "edge id e1 · …".
function summary(data) {
  const isSaid = (value) => value != null && value !== "" && value.length !== 0;
  const text = (value) => {
    if (Array.isArray(value) && value.every((v) => typeof v !== "object")) return value.join(", ");
    return typeof value === "object" ? JSON.stringify(value) : value;
  };
  return Object.entries(data).filter(([, value]) => isSaid(value))
    .map(([name, value]) => `${words(name)} ${text(value)}`).join(" · ");
}

function showEvent(name, data) {
  const list = $("events");
  list.prepend(el("li", {},
    el("time", {}, clock(new Date())), el("b", { class: STYLES[name] }, words(name)),
    el("p", {}, summary(data))));
  while (list.children.length > EVENTS_SHOWN) list.lastChild.remove();
  $("events-none").hidden = true;
}

/// The messages of one answer (HTML standard, section 9.2.6), as far as our server writes them.
async function readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const messages = (rest + value).split("\n\n");
    rest = messages.pop();
    for (const message of messages) {
      const lines = message.split("\n");
      const field = (name) => lines.filter((line) => line.startsWith(`${name}: `))
        .map((line) => line.slice(name.length + 2)).join("\n");
      if (field("data")) showEvent(field("event"), JSON.parse(field("data")));
    }
  }
}

/// Not `EventSource`, which has no place for a token.
async function listen() {
  for (;;) {
    try {
      const response = await ask("/events?streams=0");
      badge($("events-state"), "live", "good");
      await readEvents(response);
    } catch {
      // Whoever asks for the status asks for the token, too; all else is tried again.
    }
    badge($("events-state"), "not connected", "warn");
    await pause(1500);
  }
}

$("ask").addEventListener("cancel", (event) => event.preventDefault());
poll();
listen();
