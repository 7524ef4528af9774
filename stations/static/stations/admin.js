// Small things that every page of the admin shares. No library of its own: htmx and Alpine come with django-unfold.
"use strict";

// Copy buttons. The clipboard API exists only where the page came over HTTPS or from this machine.
async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.style.position = "fixed";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    await copyText(button.dataset.copy);
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
  }
  const refresh = event.target.closest("[data-refresh]");
  if (refresh) {
    htmx.trigger(refresh.closest(".csms-panel"), "csms:refresh");
  }
});

// A fragment fetched after the session has ended is the sign-in page: show it as a page.
document.addEventListener("htmx:beforeSwap", (event) => {
  const url = event.detail.xhr.responseURL;
  if (url && new URL(url).pathname.endsWith("/login/")) {
    event.detail.shouldSwap = false;
    window.location.reload();
  }
});
