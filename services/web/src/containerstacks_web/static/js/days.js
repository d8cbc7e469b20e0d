// The daily bars of each component: one tab stop, arrow keys inside, and the day in words below them.

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export function followDays(root) {
  for (const days of root.querySelectorAll("[data-days]")) {
    const named = days.parentElement.querySelector(".days__named");
    const name = (day) => { named.textContent = day?.getAttribute("aria-label") ?? ""; };
    const day = (target) => target.closest("[data-day]");
    days.addEventListener("pointerover", ({ target }) => name(day(target)));
    days.addEventListener("pointerleave", () => name(days.querySelector(":focus")));
    days.addEventListener("focusout", () => name(null));
    days.addEventListener("focusin", ({ target }) => {
      for (const other of days.children) other.tabIndex = other === target ? 0 : -1;
      name(target);
    });
    days.addEventListener("keydown", (event) => {
      const shown = [...days.children].filter((each) => each.offsetParent !== null);
      const at = shown.indexOf(day(event.target));
      const to = { Home: 0, End: shown.length - 1 }[event.key] ?? at + STEPS[event.key];
      if (event.key === "Escape") name(null);
      if (Number.isNaN(to)) return;
      event.preventDefault();
      shown[Math.min(Math.max(to, 0), shown.length - 1)].focus();
    });
  }
}
