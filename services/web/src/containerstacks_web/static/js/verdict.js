// Decides the verdict by the rule that is printed on the page (pages/verdict.py writes it): the first entry
// of the list whose condition holds.

import { number } from "./format.js";
import { asCase, lookUp } from "./values.js";

export function holds(condition, facts) {
  const { path, is, percentOf, percentMin, otherwise } = condition;
  if (otherwise !== undefined) return true;
  const value = lookUp(facts, path);
  if (percentOf === undefined) return asCase(value) === is;
  const whole = lookUp(facts, percentOf);
  return whole > 0 && value * 100 >= whole * percentMin;
}

// '' where a path of the template has no value.
function filled(template = "", facts) {
  let complete = true;
  const text = template.replace(/\{([^}]+)\}/g, (_, path) => {
    const value = lookUp(facts, path);
    if (value === null || value === "") complete = false;
    return typeof value === "number" ? number(value) : value;
  });
  return complete ? text : "";
}

export function showVerdict(root, facts) {
  const entries = [...root.querySelectorAll("[data-rules] > li")];
  const decided = entries.find((entry) => holds(entry.dataset, facts));
  const headline = root.querySelector("[data-verdict-headline]");
  const text = filled(decided.dataset.headlineNow, facts) || decided.querySelector("[data-headline]").textContent;
  const because = root.querySelector("[data-verdict-because]");
  const explained = filled(decided.dataset.becauseNow, facts) || decided.querySelector("[data-because]").textContent;
  if (because.textContent !== explained) because.textContent = explained;
  // Written only when it differs: a screen reader speaks whenever this text is set.
  if (headline.textContent === text && headline.closest("[data-verdict]").dataset.verdict === decided.dataset.verdict) return;
  if (headline.textContent !== text) {
    // Not document.title, which has one space for several.
    const title = document.querySelector("title");
    title.textContent = title.textContent.replace(headline.textContent, () => text);
    headline.textContent = text;
  }
  headline.closest("[data-verdict]").dataset.verdict = decided.dataset.verdict;
  for (const entry of entries) {
    if (entry === decided) entry.setAttribute("aria-current", "true");
    else entry.removeAttribute("aria-current");
  }
}
