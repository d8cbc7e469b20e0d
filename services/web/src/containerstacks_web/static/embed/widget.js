// Asks once a minute; what cannot be asked is not known.
const link = document.querySelector("a");

async function look() {
  let status = { indicator: "", description: "Status Unknown" };
  try {
    const response = await fetch("/api/v2/status.json", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (response.ok) ({ status } = await response.json());
  } catch {
    // Said as it is: unknown.
  }
  link.dataset.indicator = status.indicator;
  link.textContent = status.description;
}

setInterval(look, 60_000);
