// What pages do beyond HTML: ask before what cannot be undone, copy a key, fetch a live table again.
"use strict";

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm ?? event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

document.addEventListener("click", async (event) => {
  const source = event.target.dataset?.copy;
  if (!source) return;
  await navigator.clipboard.writeText(document.getElementById(source).textContent);
  event.target.textContent = "Copied";
});

for (const place of document.querySelectorAll("[data-refresh]")) {
  const refresh = async () => {
    if (!document.hidden) {
      const answer = await fetch(place.dataset.refresh, { redirect: "error" }).catch(() => null);
      if (answer?.ok) place.innerHTML = await answer.text();
    }
    setTimeout(refresh, 1000);
  };
  setTimeout(refresh, 1000);
}
