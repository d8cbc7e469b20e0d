// Administrators' pages: a key is copied by one press, and no form is sent twice by two.

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

for (const form of document.querySelectorAll(".admin form[method='post']")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent !== undefined) event.preventDefault();
    form.dataset.sent = "";
  });
}

// Back from a page that the browser kept: its forms may be sent again.
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
