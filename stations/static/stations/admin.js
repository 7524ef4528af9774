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
  // A submission that was refused: the dialog says why, and holds what was filled in.
  if ([400, 409].includes(event.detail.xhr.status) && event.detail.xhr.response.includes('id="dialog-form"')) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

// A form that was sent is not sent again by a second click. The server would not carry it out twice either.
function setBusy(form, busy) {
  for (const button of form.querySelectorAll("button[type=submit], input[type=submit]")) {
    button.disabled = busy;
    button.setAttribute("aria-busy", String(busy));
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method === "post") {
    // Later: a button that is disabled now would not be part of what is sent.
    setTimeout(() => { if (!event.defaultPrevented || form.hasAttribute("hx-post")) setBusy(form, true); });
  }
});
document.addEventListener("htmx:afterRequest", (event) => {
  // Not before a redirect: the page stays for a moment.
  const xhr = event.detail.xhr;
  const form = event.target.closest && event.target.closest("form");
  if (form && !(xhr && xhr.getResponseHeader("HX-Redirect"))) setBusy(form, false);
});
// Back from the next page, or a download.
window.addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => setBusy(form, false)));

// A box that does more than its form says asks before it is ticked.
document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.dataset.confirm && box.checked && !window.confirm(box.dataset.confirm)) {
    box.checked = false;
  }
});
