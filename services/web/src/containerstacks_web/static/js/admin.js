// Administrators' pages: one press copies a key, a double click sends a form once, what was typed survives a sign-in,
// and a billing run in progress is followed.

import { keepDrafts } from "./drafts.js";

const FOLLOW_EVERY = 2_000;

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy)));
}

async function copy(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Without TLS there is no clipboard to write to; the selection can still be copied.
    document.execCommand("copy");
  }
  document.querySelector("[data-copied]").textContent = "Copied";
}

keepDrafts(document.querySelectorAll("[data-draft]"));

for (const form of document.querySelectorAll(".admin form[method='post']")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent !== undefined) event.preventDefault();
    form.dataset.sent = "";
  });
}

// Fetches the server's markup of what is in progress until it has ended, and then the whole page with the result.
async function follow() {
  const before = document.querySelector("[data-goes-on]");
  if (before === null) return;
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) throw new Error(`${location.pathname} answered ${response.status}`);
    // The session has ended: the answer is the sign-in form, which leads back here.
    if (response.redirected) return location.reload();
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const after = page.querySelector("[data-goes-on]");
    if (after === null) document.querySelector(".admin").replaceWith(page.querySelector(".admin"));
    else if (!before.matches(":focus-within")) before.replaceWith(after);
  } catch {
    // The page says when it was read; the next attempt may succeed.
  }
  setTimeout(follow, FOLLOW_EVERY);
}

setTimeout(follow, FOLLOW_EVERY);

// Back from a page that the browser kept: its forms may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
