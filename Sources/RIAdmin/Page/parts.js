// Parts of the page: elements, tables whose rows stay where they are, meters, badges.

export const $ = (id) => document.getElementById(id);

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

export const clock = (date) => date.toLocaleTimeString("en-GB");

/// Fills a table, again and again. `columns`: `{ title, value(item), kind }`, where a kind is
/// "name", "text" or nothing for a number. Rows are known by `key(item)`: what somebody has marked
/// stays marked. On narrow screens the rows of one that `stacks` become small cards.
export function table(node, columns, key, { stacks = false } = {}) {
  if (stacks) node.classList.add("stack");
  const heads = columns.map((c) => el("th", { scope: "col", class: c.kind }, c.title));
  const body = el("tbody");
  node.append(el("thead", {}, el("tr", {}, ...heads)), body);
  const rows = new Map();
  return (items) => {
    const gone = new Set(rows.keys());
    items.forEach((item, index) => {
      const id = key(item);
      gone.delete(id);
      if (!rows.has(id)) {
        const cells = columns.map((c) => el("td", { "data-label": c.title, class: c.kind }));
        rows.set(id, el("tr", {}, ...cells));
      }
      const row = rows.get(id);
      columns.forEach((column, i) => {
        const value = column.value(item);
        if (value instanceof Node) row.children[i].replaceChildren(value);
        else setText(row.children[i], String(value));
      });
      const there = body.children[index] ?? null;
      if (there !== row) body.insertBefore(row, there);
    });
    for (const id of gone) {
      rows.get(id).remove();
      rows.delete(id);
    }
    node.hidden = items.length === 0;
  };
}

/// A bar with a label and a value; `share` of it is filled.
export function meter(parent, label, value, share, style = "") {
  let node = parent.querySelector(`[data-key="${label}"]`);
  if (!node) {
    const bar = el("div", { class: "bar" }, el("i"));
    node = el("div", { "data-key": label }, el("span", {}, label), el("b"), bar);
    parent.append(node);
  }
  setClass(node, `meter ${style}`.trim());
  setText(node.children[1], value);
  const width = share > 0 ? Math.max(0.5, Math.min(100, share * 100)) : 0;
  node.querySelector("i").style.width = `${width}%`;
}

/// `style`: "good", "warn", "bad" or nothing.
export function badge(node, text, style) {
  setText(node, text);
  setClass(node, `badge ${style}`.trim());
}
