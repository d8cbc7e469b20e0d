// Decides the verdict by the rule that is printed on the page (pages/verdict.py writes it): the first entry
// of the list whose condition holds.

import { asCase, lookUp } from "./values.js";

export function holds(condition, facts) {
  const { path, is, percentOf, percentMin, otherwise } = condition;
  if (otherwise !== undefined) return true;
  const value = lookUp(facts, path);
  if (percentOf === undefined) return asCase(value) === is;
  const whole = lookUp(facts, percentOf);
  return whole > 0 && value * 100 >= whole * percentMin;
}

export function showVerdict(root, facts) {
  const entries = [...root.querySelectorAll("[data-rules] > li")];
  const decided = entries.find((entry) => holds(entry.dataset, facts));
  const headline = root.querySelector("[data-verdict-headline]");
  const text = decided.querySelector("[data-headline]").textContent;
  // Written only when it differs: a screen reader speaks whenever this text is set.
  if (headline.textContent === text) return;
  headline.textContent = text;
  root.querySelector("[data-verdict-because]").textContent = decided.querySelector("[data-because]").textContent;
  headline.closest("[data-verdict]").dataset.verdict = decided.dataset.verdict;
  for (const entry of entries) {
    if (entry === decided) entry.setAttribute("aria-current", "true");
    else entry.removeAttribute("aria-current");
  }
}
