// The switch between the visitor's system colours, light and dark. A cookie keeps the choice, so that the
// server sends the next page in the right colours and nothing flickers.

const YEAR_SECONDS = 31_536_000;

export function followThemeSwitch(fieldset) {
  fieldset.addEventListener("change", ({ target }) => {
    const chosen = target.value === "auto" ? null : target.value;
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    const age = chosen ? YEAR_SECONDS : 0;
    document.cookie = `theme=${chosen ?? ""}; path=/; max-age=${age}; samesite=lax`;
  });
}
