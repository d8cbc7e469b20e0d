// What is typed into a form is kept in this tab until the server has accepted it: a session that ends meanwhile costs
// a sign-in, and no text.

const AGE_MAX = 24 * 3600 * 1000;

export function keepDrafts(forms) {
  for (const form of forms) {
    const name = `draft ${location.pathname} ${form.dataset.draft}`;
    // The server fills in a form that it refused, with what is wrong, and one that was asked for with a template.
    if (form.querySelector("[aria-invalid]") === null && location.search === "") restore(form, name);
    form.addEventListener("input", () => keep(form, name));
    form.addEventListener("submit", () => keep(form, name));
  }
  // A message from the server says that the form was accepted.
  if (document.querySelector(".message") !== null) forget();
}

function forget() {
  for (const name of Object.keys(sessionStorage)) if (name.startsWith("draft ")) sessionStorage.removeItem(name);
}

const fields = (form) => [...form.elements].filter(({ name, type }) => name && !["hidden", "submit", "password"].includes(type));

const state = (field) => (field.type === "checkbox" ? field.checked : field.value);

function keep(form, name) {
  const typed = fields(form).map((field) => [field.name, field.value, state(field)]);
  sessionStorage.setItem(name, JSON.stringify({ at: Date.now(), typed }));
}

function restore(form, name) {
  const { at, typed } = JSON.parse(sessionStorage.getItem(name) ?? "{}");
  if (typed === undefined || Date.now() - at > AGE_MAX) return;
  for (const [field, value, kept] of typed) {
    const found = fields(form).find((each) => each.name === field && (each.type !== "checkbox" || each.value === value));
    if (found === undefined) continue;
    if (found.type === "checkbox") found.checked = kept;
    else found.value = kept;
  }
}
