// The only file that makes nodes. Text becomes the text of a node, never markup.
// Nodes are kept from one answer of the server to the next, and with them focus and selection.

import { clean } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

export const make = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const makeSvg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.map((child) => (child instanceof Node ? child : clean(child))));
  return node;
}

export function say(node, text) {
  const safe = clean(text ?? "");
  if (node.textContent !== safe) node.textContent = safe;
}

export function reveal(node, isShown) {
  if (node.hidden === Boolean(isShown)) node.hidden = !isShown;
}

const views = new WeakMap();

// Has `parent` hold one view {node, show(item)} for each item, in their order. A view lives as long
// as there is an item with its key.
export function sync(parent, items, keyOf, create) {
  const before = views.get(parent) ?? new Map(), now = new Map();
  for (const item of items) {
    const key = keyOf(item), view = now.get(key) ?? before.get(key) ?? create(item);
    view.show(item);
    now.set(key, view);
  }
  for (const [key, view] of before) if (!now.has(key)) view.node.remove();
  let next = parent.firstElementChild;
  for (const { node } of now.values()) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  views.set(parent, now);
  return now;
}
