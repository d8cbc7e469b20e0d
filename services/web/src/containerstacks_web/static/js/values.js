// Writes the facts of a status into the elements that name them. The markup is the server's
// (templates/macros/live.html); here only text, hidden and attributes change, and only where they differ.

import { now } from "./clock.js";
import { percent, shown } from "./format.js";

export function lookUp(facts, path) {
  return path.split(".").reduce((value, name) => value?.[name], facts) ?? null;
}

// As attributes spell a value: '' for none.
export const asCase = (value) => String(value ?? "");

export function show(root, facts) {
  for (const element of root.querySelectorAll("[data-value]")) showValue(element, facts);
  for (const element of root.querySelectorAll("[data-case]")) showCase(element, facts);
  for (const element of root.querySelectorAll("[data-bar-part]")) showBarPart(element, facts);
  const states = [root, ...root.querySelectorAll("[data-state-of]")];
  for (const element of states) showState(element, facts);
}

function showValue(element, facts) {
  const { value: path, format, percentOf, absent } = element.dataset;
  const value = lookUp(facts, path);
  if (element instanceof HTMLTimeElement) setAttribute(element, "datetime", value);
  if (percentOf !== undefined) {
    setText(element, value === null ? shown(null) : percent(value, lookUp(facts, percentOf)));
  } else if (value === null && absent !== undefined && (facts.timestamp || absent === "")) {
    setText(element, absent);
  } else if (setText(element, shown(value, format, now())) && element.classList.contains("figure")) {
    flash(element);
  }
}

function showCase(element, facts) {
  const { case: path, is, not } = element.dataset;
  const matches = asCase(lookUp(facts, path)) === is;
  element.hidden = matches === (not !== undefined);
}

function showState(element, facts) {
  setAttribute(element, "data-state", asCase(lookUp(facts, element.dataset.stateOf)));
}

// Parts stand one after the other, so each begins where those before it end.
function showBarPart(element, facts) {
  const whole = lookUp(facts, element.dataset.barWhole);
  const share = (part) => (whole ? (100 * lookUp(facts, part.dataset.barPart)) / whole : 0);
  let before = 0;
  for (let part = element.previousElementSibling; part?.dataset.barPart; part = part.previousElementSibling) {
    before += share(part);
  }
  setAttribute(element, "x", inPercent(before));
  setAttribute(element, "width", inPercent(share(element)));
}

const inPercent = (share) => `${Number(share.toFixed(3))}%`;

function setText(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function flash(element) {
  element.removeAttribute("data-changed");
  // Reading a size makes the browser notice the removal, so that the animation starts again.
  void element.offsetWidth;
  element.setAttribute("data-changed", "");
}
